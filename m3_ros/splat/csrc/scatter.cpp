#include "scatter.h"

#include <algorithm>
#include <cstring>

namespace m3 {

void PixelRow::load(const Layout& layout, const Planes& image, size_t pixels, size_t offset, int columns) {
    const int stride = layout.stride();
    Row* plane_rows = planes.reserve(stride);
    for (int c = 0; c < stride; c++) {
        const float* plane = image.plane(c, pixels);
        plane_rows[c] = plane ? load_partial(plane + offset, columns) : splat(0);
    }
    float* out = reinterpret_cast<float*>(transposed.reserve(16 * layout.wide + 1));
    const float* in = reinterpret_cast<const float*>(plane_rows);
    for (int block = 0; block < layout.wide; block++)
        for (int p = 0; p < kLanes; p++)
            for (int c = 0; c < 16; c++) out[(p * layout.wide + block) * 16 + c] = in[(block * 16 + c) * kLanes + p];
}

void begin_tile(TileWork& work, const Context& context, SlotSums& sums, int tile, int count) {
    Row* lanes = work.sums.reserve(size_t(count) * sums.lane_count + 1);
    std::memset(static_cast<void*>(lanes), 0, sizeof(Row) * count * sums.lane_count);
    const size_t first = context.tile_first[tile];
    std::memset(sums.wide.data() + first * sums.wide_count, 0, sizeof(float) * count * sums.wide_count);
}

void end_tile(TileWork& work, const Context& context, SlotSums& sums, int tile, int count) {
    float* out = sums.lanes.data() + size_t(context.tile_first[tile]) * sums.lane_count;
    for (int i = 0; i < count * sums.lane_count; i++) out[i] = R::sum(work.sums[i]);
}

void gather_slots(const Context& context, const SlotSums& sums, int item, double* lanes, double* wide) {
    std::fill(lanes, lanes + sums.lane_count, 0.0);
    std::fill(wide, wide + sums.wide_count, 0.0);
    for (const Band& band : context.bands)
        for (int h = band.first[item]; h < band.first[item + 1]; h++) {
            const size_t slot = band.slot[h];
            const float *from_lanes = sums.lanes.data() + slot * sums.lane_count, *from_wide = sums.wide.data() + slot * sums.wide_count;
            for (int c = 0; c < sums.lane_count; c++) lanes[c] += from_lanes[c];
            for (int c = 0; c < sums.wide_count; c++) wide[c] += from_wide[c];
        }
}

}  // namespace m3
