#include <algorithm>
#include <cstring>

#include "raster.h"
#include "tile_rows.h"

namespace m3 {
namespace {

// Bring the channels of the visible Gaussians together, front to back, with their depth behind and zeros up to the stride.
void pack(Context& context, const float* features, int channels) {
    const Stopwatch watch(context.seconds.prepare);
    const int stride = context.layout.stride();
    const int64_t n = int64_t(context.visible.size());
    float* packed = context.packed.reserve(size_t(n) * stride + 16);
#pragma omp parallel for num_threads(context.threads) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        if (i + kAhead < n) {
            const float* later = features + int64_t(context.visible[i + kAhead].id) * channels;
            for (int c = 0; c < channels; c += 16) __builtin_prefetch(later + c);
        }
        float* row = packed + i * stride;
        if (channels) std::memcpy(row, features + int64_t(context.visible[i].id) * channels, sizeof(float) * channels);
        row[channels] = context.visible[i].z;
        for (int c = channels + 1; c < stride; c++) row[c] = 0;
    }
}

struct RowTarget {
    size_t pixels, offset;  // pixels of a plane; offset of the row in it
    int columns;
};

// Weighted sum of `Width` channels from `first` on over the entries of one row: a matrix product that lives in registers.
template <int Width>
M3_INLINE void blend_channels(const TileWork& work, int stride, int count, int first, const Planes& out, const RowTarget& at) {
    const Row* weights = work.weight.data();
    const int* entry = work.entry.data();
    const float* features = work.features.data() + first;
    Row sum[Width];  // every loop over it is unrolled, or it would live in memory
#pragma GCC unroll 24
    for (int c = 0; c < Width; c++) sum[c] = splat(0);
    for (int e = 0; e < count; e++) {
        const Row weight = weights[e];
        const float* f = in_one_register(features + int64_t(entry[e]) * stride);
#pragma GCC unroll 24
        for (int c = 0; c < Width; c++) sum[c] += weight * f[c];
    }
    Row done[Width];  // a copy that may live in memory, where what follows branches
#pragma GCC unroll 24
    for (int c = 0; c < Width; c++) done[c] = sum[c];
    for (int c = 0; c < Width; c++)
        if (float* plane = out.plane(first + c, at.pixels)) store_partial(plane + at.offset, done[c], at.columns);
}

void blend_all_channels(const TileWork& work, int stride, int count, const Planes& out, const RowTarget& at) {
    int first = 0;
    for (; first + kBlock + kLastBlock <= stride; first += kBlock) blend_channels<kBlock>(work, stride, count, first, out, at);
    if constexpr (kLastBlock > 4) {
        if (stride - first == kBlock + 4) return blend_channels<kBlock + 4>(work, stride, count, first, out, at);
        if (stride - first == kBlock) return blend_channels<kBlock>(work, stride, count, first, out, at);
    }
    for (; first + kBlock <= stride; first += kBlock) blend_channels<kBlock>(work, stride, count, first, out, at);
    if (stride - first == 8) return blend_channels<8>(work, stride, count, first, out, at);
    for (; first < stride; first += 4) blend_channels<4>(work, stride, count, first, out, at);
}

template <bool Median>
int forward_row(const Context& context, TileWork& work, int count, int x0, int y, const Planes& out, float* alpha, float* median) {
    const Camera& camera = context.camera;
    const RowTarget at = {size_t(camera.width) * camera.height, size_t(y) * camera.width + x0, std::min(kTile, camera.width - x0)};
    for (int c = 0; c <= out.count; c++)  // every channel lies in another page: ask for them before the work, not after
        if (const float* plane = out.plane(c, at.pixels)) __builtin_prefetch(plane + at.offset, 1);
    Row left, middle = splat(0);
    const int found = find_entries(work, count, float(x0), y + 0.5f);
    const int used = blend_entries<false, Median>(work, found, float(x0), left, middle);
    store_partial(alpha + at.offset, splat(1) - left, at.columns);
    if constexpr (Median) store_partial(median + at.offset, middle, at.columns);
    blend_all_channels(work, context.layout.stride(), used, out, at);
    return used;
}

template <bool Median>
void forward_tiles(Context& context, const Planes& out, float* alpha, float* median) {
    const Stopwatch watch(context.seconds.forward);
    int64_t entries = 0;
#pragma omp parallel num_threads(context.threads) reduction(+ : entries)
    {
        static thread_local TileWork work;
#pragma omp for schedule(dynamic, 4)
        for (int tile = 0; tile < context.tile_count(); tile++) {
            const int count = load_tile(work, context, tile);
            const int x0 = tile % context.tiles_x * kTile, y0 = tile / context.tiles_x * kTile;
            load_features(work, context, tile, count);
            for (int y = y0; y < std::min(context.camera.height, y0 + kTile); y++)
                entries += forward_row<Median>(context, work, count, x0, y, out, alpha, median);
        }
    }
    context.entries = entries;
}

}  // namespace

Layout make_layout(int channels) {
    Layout layout;
    layout.used = channels + 1;
    const int rest = layout.used % 16;
    layout.wide = layout.used / 16 + (rest > 8 ? 1 : 0);
    layout.narrow = rest == 0 || rest > 8 ? 0 : (rest > 4 ? 8 : 4);
    return layout;
}

void forward(Context& context, const float* features, const Planes& out, float* alpha, float* median) {
    context.layout = make_layout(out.count);
    pack(context, features, out.count);
    if (median)
        forward_tiles<true>(context, out, alpha, median);
    else
        forward_tiles<false>(context, out, alpha, median);
}

}  // namespace m3
