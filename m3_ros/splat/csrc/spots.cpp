// Features of cells and regions, projected and brought to the spots of a view: the part of a lift that every encoder has for
// itself.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "lift.h"
#include "simd.h"

namespace m3 {
namespace {

constexpr int kVectorsAtOnce = kRegistersPerRow == 1 ? 8 : 4;
constexpr int kVectorsOfTask = 32;
constexpr int kChunk = 256;  // numbers of each vector for which the matrix stays in the nearest cache

// The squared length of a vector whose numbers `take_row(d)` and `take(d)` hand over, sixteen and one at a time. Two chains of
// additions, because a single one would wait for each of them.
template <class TakeRow, class Take>
M3_INLINE float squared_length(int length, TakeRow take_row, Take take) {
    Row even = splat(0), odd = splat(0);
    int d = 0;
    for (; d + 2 * kLanes <= length; d += 2 * kLanes) {
        const Row a = take_row(d), b = take_row(d + kLanes);
        even += a * a, odd += b * b;
    }
    const Vec4 parts = R::fold(even + odd);
    float rest = 0;
    for (; d < length; d++) {
        const float x = take(d);
        rest += x * x;
    }
    return (parts[0] + parts[1]) + (parts[2] + parts[3]) + rest;
}

float squared_length(const float* x, int length) {
    return squared_length(length, [&](int d) { return load(x + d); }, [&](int d) { return x[d]; });
}

// out[0 .. length) = halves as floats; returns their squared length, summed while they are in registers.
float widen(const uint16_t* halves, int length, float* out) {
    const auto take_row = [&](int d) {
        const Row row = widened_row(halves + d);
        store(out + d, row);
        return row;
    };
    return squared_length(length, take_row, [&](int d) { return out[d] = widened(halves[d]); });
}

// Some numbers of vectors next to each other, as floats.
struct Chunk {
    const float* first;
    size_t step;  // from one vector to the next
};

// Numbers d .. d + length of `Count` vectors; adds their squares to those of the numbers before.
template <int Count>
M3_INLINE Chunk chunk_of(const LiftImage& image, int i, int d, int length, float* space, float* square) {
    const size_t at = size_t(i) * image.length + d;
    if (!image.halves) {
        const float* first = static_cast<const float*>(image.features) + at;
        if (image.normalised)
            for (int k = 0; k < Count; k++) square[k] += squared_length(first + size_t(k) * image.length, length);
        return {first, size_t(image.length)};
    }
    const uint16_t* halves = static_cast<const uint16_t*>(image.features) + at;
    for (int k = 0; k < Count; k++) {
        const uint16_t* from = halves + size_t(k) * image.length;
        const uint16_t* next = from + size_t(Count) * image.length;  // memory is slow to find rows that are this short
        for (int b = 0; b < length; b += 32) __builtin_prefetch(next + b);
        square[k] += widen(from, length, space + k * kChunk);
    }
    return {space, kChunk};
}

// out[k][:] (+)= chunk[k] . matrix
template <int Count>
M3_INLINE void multiply_chunk(const Chunk& chunk, const float* matrix, int length, int blocks, bool adds, float* out) {
    const int width = 16 * blocks;
    for (int block = 0; block < blocks; block++) {
        Row sum[Count];
#pragma GCC unroll 8
        for (int k = 0; k < Count; k++) sum[k] = adds ? load(out + k * width + 16 * block) : splat(0);
        for (int d = 0; d < length; d++) {
            const Row row = load(matrix + size_t(d) * width + 16 * block);
            const float* at = in_one_register(chunk.first + d);
#pragma GCC unroll 8
            for (int k = 0; k < Count; k++) sum[k] += row * at[k * chunk.step];
        }
#pragma GCC unroll 8
        for (int k = 0; k < Count; k++) store(out + k * width + 16 * block, sum[k]);
    }
}

// Project some numbers of `Count` vectors next to each other, and add up their squares.
template <int Count>
M3_INLINE void project_some(const LiftImage& image, int i, int d, float* out, float* square) {
    alignas(64) float space[Count * kChunk];
    const int length = std::min(kChunk, image.length - d);
    const Chunk chunk = chunk_of<Count>(image, i, d, length, space, square);
    multiply_chunk<Count>(chunk, image.matrix + size_t(d) * 16 * image.blocks, length, image.blocks, d > 0, out);
}

void project(const LiftImage& image, int begin, int end, float* vectors) {
    const int width = 16 * image.blocks;
    float square[kVectorsOfTask] = {};
    for (int d = 0; d < image.length; d += kChunk) {
        int i = begin;
        for (; i + kVectorsAtOnce <= end; i += kVectorsAtOnce)
            project_some<kVectorsAtOnce>(image, i, d, vectors + size_t(i) * width, square + i - begin);
        for (; i < end; i++) project_some<1>(image, i, d, vectors + size_t(i) * width, square + i - begin);
    }
    for (int i = begin; i < end; i++) {
        float* vector = vectors + size_t(i) * width;
        if (!image.index && !image.valid[i]) {
            std::memset(vector, 0, sizeof(float) * width);
        } else if (image.normalised) {
            const float scale = 1 / std::max(1e-12f, std::sqrt(square[i - begin]));
            for (int c = 0; c < width; c += kLanes) store(vector + c, load(vector + c) * scale);
        }
    }
}

// The cells that the middle of a spot lies between, as torch.nn.functional.interpolate has them.
struct Between {
    int low, high;
    float share;  // of `high`
};

Between between(int spot, int cells, int pixels) {
    const double at = std::min(cells - 1.0, std::max(0.0, (spot + 0.5) * kSpot * cells / pixels - 0.5));
    const int low = int(at);
    return {low, std::min(low + 1, cells - 1), float(at - low)};
}

void fill_from_grid(const Camera& camera, const LiftImage& image, const Projected& seen, int x0, int y0, int stride, float* out) {
    constexpr float kLeastKnown = 0.5f;  // a spot has a feature where the cells around it that have one weigh this much
    const int width = 16 * image.blocks;
    const int across = std::min(kSpots, spots_of(camera.width) - x0), down = std::min(kSpots, spots_of(camera.height) - y0);
    Between columns_of[kSpots];
    for (int x = 0; x < across; x++) columns_of[x] = between(x0 + x, image.columns, camera.width);
    for (int y = 0; y < down; y++) {
        const Between rows = between(y0 + y, image.rows, camera.height);
        const size_t low_row = size_t(rows.low) * image.columns, high_row = size_t(rows.high) * image.columns;
        for (int x = 0; x < across; x++) {
            const Between columns = columns_of[x];
            const size_t cell[4] = {low_row + columns.low, low_row + columns.high, high_row + columns.low, high_row + columns.high};
            float weight[4] = {(1 - rows.share) * (1 - columns.share), (1 - rows.share) * columns.share,
                               rows.share * (1 - columns.share), rows.share * columns.share};
            float* to = out + (y * kSpots + x) * stride;
            if (seen.known >= 0) {
                float share = 0;
                for (int k = 0; k < 4; k++) share += image.valid[cell[k]] ? weight[k] : 0;
                to[seen.known] = share > kLeastKnown;
                for (float& w : weight) w = share > kLeastKnown ? w / share : 0;
            }
            for (int c = 0; c < width; c += kLanes) {
                Row sum = splat(0);
#pragma GCC unroll 4
                for (int k = 0; k < 4; k++) sum += load(seen.vectors.data() + cell[k] * width + c) * weight[k];
                store(to + seen.first + c, sum);
            }
        }
    }
}

int cell_of(int spot, int cells, int pixels) {
    return std::min(cells - 1, int((spot + 0.5) * kSpot * cells / pixels));
}

void fill_from_regions(const Camera& camera, const LiftImage& image, const Projected& seen, int x0, int y0, int stride, float* out) {
    const int width = 16 * image.blocks;
    const int across = std::min(kSpots, spots_of(camera.width) - x0), down = std::min(kSpots, spots_of(camera.height) - y0);
    for (int y = 0; y < down; y++) {
        const int64_t* index = image.index + size_t(cell_of(y0 + y, image.rows, camera.height)) * image.columns;
        for (int x = 0; x < across; x++) {
            const int64_t region = index[cell_of(x0 + x, image.columns, camera.width)];
            float* to = out + (y * kSpots + x) * stride;
            if (seen.known >= 0) to[seen.known] = region >= 0;
            for (int c = 0; c < width; c += kLanes)
                store(to + seen.first + c, region >= 0 ? load(seen.vectors.data() + size_t(region) * width + c) : splat(0));
        }
    }
}

}  // namespace

bool has_holes(const LiftImage& image) {
    const size_t cells = size_t(image.rows) * image.columns;
    if (image.index) return std::any_of(image.index, image.index + cells, [](int64_t region) { return region < 0; });
    return std::memchr(image.valid, 0, cells) != nullptr;
}

void project_all(const LiftImage* images, int count, Projected* out) {
    for (int k = 0; k < count; k++)
#pragma omp for schedule(dynamic, 1) nowait
        for (int begin = 0; begin < images[k].count; begin += kVectorsOfTask)
            project(images[k], begin, std::min(images[k].count, begin + kVectorsOfTask), out[k].vectors.data());
#pragma omp barrier
}

void fill_spots(const Camera& camera, const LiftImage& image, const Projected& seen, int x0, int y0, int stride, float* out) {
    if (image.index)
        fill_from_regions(camera, image, seen, x0 / kSpot, y0 / kSpot, stride, out);
    else
        fill_from_grid(camera, image, seen, x0 / kSpot, y0 / kSpot, stride, out);
}

}  // namespace m3
