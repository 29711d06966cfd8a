// From pixels back to Gaussians: what each entry of a row of pixels collects, shared by backward and accumulate.
#pragma once

#include "raster.h"
#include "tile_rows.h"

namespace m3 {

constexpr int kMoments = 6;  // sums of G, G dx, G dy, G dx^2, G dx dy, G dy^2 with G = dL / d(exponent)

// What every slot (Gaussian, tile) has collected. Slots never share memory: no locks, and the same bits on every run.
struct SlotSums {
    Buffer<float> lanes;  // [slots, kMoments + narrow]
    Buffer<float> wide;   // [slots, 16 * wide]
    int lane_count = 0, wide_count = 0;

    void reserve(const Context& context) {
        lane_count = kMoments + context.layout.narrow;
        wide_count = 16 * context.layout.wide;
        lanes.reserve(size_t(context.slot_count()) * lane_count + 16);
        wide.reserve(size_t(context.slot_count()) * wide_count + 16);
    }
};

// One row of pixels of the image that is scattered: channels as planes (channel on memory, pixel on lanes) and, for the wide
// blocks, transposed (pixel on memory, channel on lanes).
struct PixelRow {
    Buffer<Row> planes, transposed;

    // `next` pixels further on lies the row that will be loaded next.
    void load(const Layout& layout, const Planes& image, size_t pixels, size_t offset, int columns, int next);
};

// sums[entry][kMoments + c] += weight * plane[c] for the narrow channels.
template <int Narrow>
M3_INLINE void scatter_narrow(TileWork& work, int used, const Row* planes, int lane_count) {
    for (int e = 0; e < used; e++) {
        Row* sum = in_one_register(work.sums.data() + int64_t(work.entry[e]) * lane_count + kMoments);
        const Row weight = work.weight[e];
#pragma GCC unroll 8
        for (int c = 0; c < Narrow; c++) sum[c] += weight * planes[c];
    }
}

// wide[entry][:] += sum over pixels of weight[pixel] * transposed[pixel][:], for `Entries` entries from `e` on and `Group`
// blocks of sixteen channels at once. Loops over the sums are unrolled, or these would live in memory.
template <int Entries, int Group>
M3_INLINE void scatter_wide_block(const TileWork& work, int e, const Row* transposed, int blocks, int block, float* wide) {
    const float* weights = reinterpret_cast<const float*>(&work.weight[e]);
    const int* entry = &work.entry[e];
    wide += block * 16;
    Row sum[Entries][Group];
#pragma GCC unroll 8
    for (int k = 0; k < Entries; k++)
#pragma GCC unroll 4
        for (int g = 0; g < Group; g++) sum[k][g] = splat(0);
    const Row* row = transposed + block;
#pragma GCC unroll 2
    for (int p = 0; p < kLanes; p++) {
        row = in_one_register(row);
#pragma GCC unroll 4
        for (int g = 0; g < Group; g++) {
            const Row values = row[g];
#pragma GCC unroll 8
            for (int k = 0; k < Entries; k++) sum[k][g] += values * weights[k * kLanes];
        }
        row += blocks, weights++;
    }
#pragma GCC unroll 8
    for (int k = 0; k < Entries; k++) {
        float* out = wide + int64_t(entry[k]) * blocks * 16;
#pragma GCC unroll 4
        for (int g = 0; g < Group; g++) store(out + 16 * g, load(out + 16 * g) + sum[k][g]);
    }
}

template <int Entries, int Group>
M3_INLINE void scatter_wide_group(const TileWork& work, int used, const Row* transposed, int blocks, int block, float* wide) {
    int e = 0;
    for (; e + Entries <= used; e += Entries) scatter_wide_block<Entries, Group>(work, e, transposed, blocks, block, wide);
    if constexpr (Entries > 4)
        for (; e + 4 <= used; e += 4) scatter_wide_block<4, Group>(work, e, transposed, blocks, block, wide);
    for (; e < used; e++) scatter_wide_block<1, Group>(work, e, transposed, blocks, block, wide);
}

// Scatter `blocks` times sixteen channels, of which `transposed` has the values of sixteen pixels.
inline void scatter_blocks(const TileWork& work, int used, const Row* transposed, int blocks, float* wide) {
    int block = 0;
    for (; block + kWideGroup <= blocks; block += kWideGroup)
        scatter_wide_group<kEntries, kWideGroup>(work, used, transposed, blocks, block, wide);
    for (; block < blocks; block++) scatter_wide_group<kLoneEntries, 1>(work, used, transposed, blocks, block, wide);
}

// Scatter all channels of one row; `wide` is the tile's part of SlotSums::wide.
inline void scatter_channels(TileWork& work, int used, const Layout& layout, const PixelRow& row, float* wide) {
    const Row* narrow = row.planes.data() + 16 * layout.wide;
    const int lane_count = kMoments + layout.narrow;
    if (layout.narrow == 4) scatter_narrow<4>(work, used, narrow, lane_count);
    if (layout.narrow == 8) scatter_narrow<8>(work, used, narrow, lane_count);
    scatter_blocks(work, used, row.transposed.data(), layout.wide, wide);
}

// Clear what a tile collects before its first row, and write its lane sums behind its last.
void begin_tile(TileWork& work, const Context& context, SlotSums& sums, int tile, int count);
void end_tile(TileWork& work, const Context& context, SlotSums& sums, int tile, int count);

// Ask for the memory of a Gaussian's slots some time before they are gathered: they lie anywhere.
// Always inlined: GCC takes a function that only prefetches for one without effect, and drops its calls.
M3_INLINE void prefetch_slots(const Context& context, const SlotSums& sums, int item) {
    for (const Band& band : context.bands)
        for (int h = band.first[item]; h < band.first[item + 1]; h++) {
            const size_t slot = band.slot[h];
            __builtin_prefetch(sums.lanes.data() + slot * sums.lane_count);
            for (int c = 0; c < sums.wide_count; c += 16) __builtin_prefetch(sums.wide.data() + slot * sums.wide_count + c);
        }
}

// What one visible Gaussian collected in all its slots.
struct Collected {
    std::vector<double> lanes;  // [kMoments + narrow]; double, because the moments of a needle cancel
    Buffer<float> wide;         // [16 * wide]

    explicit Collected(const SlotSums& sums) : lanes(sums.lane_count) { wide.reserve(sums.wide_count + 16); }
};

void gather_slots(const Context& context, const SlotSums& sums, int item, Collected& out);

}  // namespace m3
