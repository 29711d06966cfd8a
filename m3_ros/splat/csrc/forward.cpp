#include <algorithm>
#include <cstring>

#include "raster.h"
#include "tile_rows.h"

namespace m3 {
namespace {

// Bring the channels of the visible Gaussians together, front to back, with their depth behind and zeros up to the stride.
void pack(Context& context, const float* features, int channels) {
    const int stride = context.layout.stride();
    const int64_t n = int64_t(context.visible.size());
    float* packed = context.packed.reserve(size_t(n) * stride + 16);
#pragma omp parallel for num_threads(context.threads) schedule(static)
    for (int64_t i = 0; i < n; i++) {
        float* row = packed + i * stride;
        if (channels) std::memcpy(row, features + int64_t(context.visible[i].id) * channels, sizeof(float) * channels);
        row[channels] = context.visible[i].z;
        for (int c = channels + 1; c < stride; c++) row[c] = 0;
    }
}

// Weighted sum of `Width` channels over the entries of one row: a matrix product that lives in registers.
template <int Width>
M3_INLINE void blend_channels(const Row* weights, const int* items, int count, const float* packed, int stride, Row* out) {
    Row sum[Width];  // every loop over it is unrolled, or it would live in memory
#pragma GCC unroll 16
    for (int c = 0; c < Width; c++) sum[c] = splat(0);
    for (int e = 0; e < count; e++) {
        const Row weight = weights[e];
        const float* f = packed + int64_t(items[e]) * stride;
#pragma GCC unroll 16
        for (int c = 0; c < Width; c++) sum[c] += weight * f[c];
    }
#pragma GCC unroll 16
    for (int c = 0; c < Width; c++) out[c] = sum[c];
}

struct RowTarget {
    size_t pixels, offset;  // pixels of a plane; offset of the row in it
    int columns;
};

template <int Width>
M3_INLINE void write_channels(const Context& context, const TileWork& work, int count, int first, const Planes& out,
                              const RowTarget& at) {
    Row sum[Width];
    blend_channels<Width>(work.weight.data(), work.entry.data(), count, context.packed.data() + first,
                          context.layout.stride(), sum);
    for (int c = 0; c < Width; c++)
        if (float* plane = out.plane(first + c, at.pixels)) store_partial(plane + at.offset, sum[c], at.columns);
}

template <bool Median>
int forward_row(const Context& context, TileWork& work, int count, const int* slots, int x0, int y, const Planes& out,
                 float* alpha, float* median) {
    const Camera& camera = context.camera;
    const RowTarget at = {size_t(camera.width) * camera.height, size_t(y) * camera.width + x0, std::min(kTile, camera.width - x0)};
    Row left, middle = splat(0);
    const int found = find_entries(work, count, float(x0), y + 0.5f);
    const int used = blend_entries<false, Median>(work, found, float(x0), y + 0.5f, left, middle);
    store_partial(alpha + at.offset, splat(1) - left, at.columns);
    if constexpr (Median) store_partial(median + at.offset, middle, at.columns);
    int* entry = work.entry.data();
    for (int e = 0; e < used; e++) entry[e] = slots[entry[e]];
    int first = 0;
    const int stride = context.layout.stride();
    for (; first + kBlock <= stride; first += kBlock) write_channels<kBlock>(context, work, used, first, out, at);
    for (; first < stride; first += 4) write_channels<4>(context, work, used, first, out, at);
    return used;
}

template <bool Median>
void forward_tiles(Context& context, const Planes& out, float* alpha, float* median) {
    int64_t entries = 0;
#pragma omp parallel num_threads(context.threads) reduction(+ : entries)
    {
        static thread_local TileWork work;
#pragma omp for schedule(dynamic, 4)
        for (int tile = 0; tile < context.tile_count(); tile++) {
            const int count = load_tile(work, context, tile);
            const int x0 = tile % context.tiles_x * kTile, y0 = tile / context.tiles_x * kTile;
            const int* slots = context.slot_item.data() + context.tile_first[tile];
            for (int y = y0; y < std::min(context.camera.height, y0 + kTile); y++)
                entries += forward_row<Median>(context, work, count, slots, x0, y, out, alpha, median);
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
