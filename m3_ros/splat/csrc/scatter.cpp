#include "scatter.h"

#include <algorithm>
#include <cstring>

namespace m3 {

void PixelRow::load(const Layout& layout, const Planes& image, size_t pixels, size_t offset, int columns, int next) {
    const int stride = layout.stride();
    Row* plane_rows = planes.reserve(stride);
    for (int c = 0; c < stride; c++) {
        const float* plane = image.plane(c, pixels);
        if (plane) __builtin_prefetch(plane + offset + next);
        plane_rows[c] = plane ? load_partial(plane + offset, columns) : splat(0);
    }
    Row* out = transposed.reserve(16 * layout.wide + 1);
    for (int block = 0; block < layout.wide; block++) transpose_rows(plane_rows + 16 * block, out + block, layout.wide);
}

void begin_tile(TileWork& work, const Context& context, SlotSums& sums, int tile, int count) {
    Row* lanes = work.sums.reserve(size_t(count) * sums.lane_count + 4);
    std::memset(static_cast<void*>(lanes), 0, sizeof(Row) * count * sums.lane_count);
    const size_t first = context.tile_first[tile];
    std::memset(sums.wide.data() + first * sums.wide_count, 0, sizeof(float) * count * sums.wide_count);
}

void end_tile(TileWork& work, const Context& context, SlotSums& sums, int tile, int count) {
    float* out = sums.lanes.data() + size_t(context.tile_first[tile]) * sums.lane_count;
    const int rows = count * sums.lane_count;
    for (int i = 0; i < rows; i += 4) {
        const Vec4 four = sums_of_four(work.sums.data() + i);
        for (int k = 0; k < std::min(4, rows - i); k++) out[i + k] = four[k];
    }
}

void gather_slots(const Context& context, const SlotSums& sums, int item, Collected& out) {
    std::fill(out.lanes.begin(), out.lanes.end(), 0.0);
    std::fill(out.wide.data(), out.wide.data() + sums.wide_count, 0.f);
    for (const Band& band : context.bands)
        for (int h = band.first[item]; h < band.first[item + 1]; h++) {
            const size_t slot = band.slot[h];
            const float* lanes = sums.lanes.data() + slot * sums.lane_count;
            for (int c = 0; c < sums.lane_count; c++) out.lanes[c] += lanes[c];
            float* to = out.wide.data();
            const float* from = sums.wide.data() + slot * sums.wide_count;
            for (int c = 0; c < sums.wide_count; c += kLanes) store(to + c, load(to + c) + load(from + c));
        }
}

}  // namespace m3
