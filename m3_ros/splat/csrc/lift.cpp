// Interpolation is linear, so it can be done to the weights instead of the features: the weights of a Gaussian are first
// brought from the rows of pixels to the fewer rows of an encoder's grid, and only what is left is multiplied with features.
// Of regions only the sum of the weights that fell on each is.
#include "lift.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "raster.h"
#include "scatter.h"
#include "tile_rows.h"

namespace m3 {
namespace {

// The rows of a grid that a row of pixels lies between, as torch.nn.functional.interpolate has them.
struct Between {
    int low, high;
    float share;  // of `high`
};

Between between(int y, int rows, int height) {
    const float at = std::max(0.f, (y + 0.5f) * (float(rows) / float(height)) - 0.5f);
    const int low = std::min(int(at), rows - 1);
    return {low, std::min(low + 1, rows - 1), at - float(low)};
}

struct Tile {
    int first, count;      // slots
    int x0, y0, y1;
    Row inside;            // one for the pixels of a row that lie in the image
};

// What every slot has collected of every image.
struct LiftSums {
    std::vector<Buffer<float>> wide;  // of each image [slots, 16 * blocks]
    std::vector<int> lane;            // of each image: where its weights are in `lanes`; 0, all that was seen, if everywhere
    Buffer<float> lanes;              // [slots, lane_count]
    int lane_count = 1;

    LiftSums(const Context& context, const LiftImage* images, int count) : wide(count), lane(count) {
        const size_t slots = context.slot_count();
        for (int k = 0; k < count; k++) {
            wide[k].reserve(slots * images[k].blocks * 16 + 16);
            lane[k] = images[k].factor || images[k].index ? lane_count++ : 0;
        }
        lanes.reserve(slots * lane_count + 16);
    }
};

// Weights by rows of a grid, or by regions of a tile: [group][Gaussian of the tile].
struct Groups {
    Buffer<Row> weights;
    std::vector<int> number;  // row of the grid, or region
    Between at[kTile];        // of each row of pixels; `low` and `high` count from number[0]

    Row* clear(int count) {
        Row* rows = weights.reserve(number.size() * count + 1);
        std::memset(static_cast<void*>(rows), 0, sizeof(Row) * number.size() * count);
        return rows;
    }
};

struct LiftWork {
    TileWork tile;
    std::vector<Groups> groups;         // of each image
    std::vector<int> low, high;         // rows of the grid at hand that each Gaussian of the tile reaches
    std::vector<int> first_y, last_y;   // rows of pixels of the tile that each Gaussian reaches
    Buffer<Row> lanes;                  // [Gaussian, lane_count]
};

// The regions in a tile.
void list_regions(const LiftImage& image, const Tile& tile, std::vector<int>& found) {
    found.clear();
    for (int y = tile.y0; y < tile.y1; y++) {
        const int32_t* row = image.index + size_t(y) * image.columns + tile.x0;
        for (int x = 0; x < kTile; x++) {
            if (row[x] < 0 || (!found.empty() && row[x] == found.back())) continue;
            if (std::find(found.begin(), found.end(), row[x]) == found.end()) found.push_back(row[x]);
        }
    }
}

void start_groups(const LiftImage& image, const Tile& tile, int height, Groups& groups) {
    if (image.index) {
        list_regions(image, tile, groups.number);
    } else {
        const int low = between(tile.y0, image.rows, height).low, high = between(tile.y1 - 1, image.rows, height).high;
        groups.number.resize(high - low + 1);
        for (int r = low; r <= high; r++) groups.number[r - low] = r;
        for (int y = tile.y0; y < tile.y1; y++) {
            const Between at = between(y, image.rows, height);
            groups.at[y - tile.y0] = {at.low - low, at.high - low, at.share};
        }
    }
    groups.clear(tile.count);
}

M3_INLINE void add_weights(const TileWork& work, int used, Row factor, Row* to) {
    for (int e = 0; e < used; e++) to[work.entry[e]] += work.weight[e] * factor;
}

M3_INLINE void add_lanes(const TileWork& work, int used, Row factor, int stride, Row* to) {
    for (int e = 0; e < used; e++) to[work.entry[e] * stride] += work.weight[e] * factor;
}

void add_grid_row(const LiftImage& image, const LiftWork& work, int used, const Tile& tile, int y, Groups& groups, int stride,
                  Row* lane) {
    const Between at = groups.at[y - tile.y0];
    Row factor = splat(1);
    if (image.factor) {
        factor = load(image.factor + size_t(y) * image.columns + tile.x0);
        add_lanes(work.tile, used, R::select_lt(splat(0), factor, splat(1), splat(0)), stride, lane);
    }
    Row* rows = groups.weights.data();
    if (at.share < 1) add_weights(work.tile, used, factor * (1 - at.share), rows + size_t(at.low) * tile.count);
    if (at.share > 0) add_weights(work.tile, used, factor * at.share, rows + size_t(at.high) * tile.count);
}

void add_region_row(const LiftImage& image, const LiftWork& work, int used, const Tile& tile, int y, Groups& groups) {
    const int32_t* index = image.index + size_t(y) * image.columns + tile.x0;
    for (size_t k = 0; k < groups.number.size(); k++) {
        alignas(64) float here[kLanes];
        int hits = 0;
        for (int x = 0; x < kLanes; x++) hits += index[x] == groups.number[k], here[x] = index[x] == groups.number[k];
        if (hits) add_weights(work.tile, used, load(here), groups.weights.data() + k * tile.count);
    }
}

void blend_tile(const Context& context, const LiftImage* images, LiftWork& work, LiftSums& sums, const Tile& tile) {
    const int height = context.camera.height, stride = sums.lane_count;
    Row* lanes = work.lanes.reserve(size_t(tile.count) * stride + 4);
    std::memset(static_cast<void*>(lanes), 0, sizeof(Row) * (size_t(tile.count) * stride + 4));
    for (size_t k = 0; k < work.groups.size(); k++) start_groups(images[k], tile, height, work.groups[k]);
    for (int y = tile.y0; y < tile.y1; y++) {
        const int found = find_entries(work.tile, tile.count, float(tile.x0), y + 0.5f);
        Row left, unused;
        const int used = blend_entries<false, false>(work.tile, found, float(tile.x0), left, unused);
        for (int e = 0; e < used; e++) {
            const int i = work.tile.entry[e];
            const Row weight = work.tile.weight[e] * tile.inside;
            work.tile.weight[e] = weight;
            lanes[i * stride] += weight;
            work.first_y[i] = std::min(work.first_y[i], y - tile.y0), work.last_y[i] = y - tile.y0;
        }
        for (size_t k = 0; k < work.groups.size(); k++)
            if (images[k].index)
                add_region_row(images[k], work, used, tile, y, work.groups[k]);
            else
                add_grid_row(images[k], work, used, tile, y, work.groups[k], stride, lanes + sums.lane[k]);
    }
    float* out = sums.lanes.data() + size_t(tile.first) * stride;
    for (int i = 0; i < tile.count * stride; i += 4) {
        const Vec4 four = sums_of_four(lanes + i);
        for (int k = 0; k < std::min(4, tile.count * stride - i); k++) out[i + k] = four[k];
    }
}

// The weights of each row of the grid times the features of that row.
void multiply_grid(const LiftImage& image, LiftWork& work, const Tile& tile, const Groups& groups, float* wide) {
    work.low.resize(tile.count), work.high.resize(tile.count);
    for (int i = 0; i < tile.count; i++) {
        const bool reached = work.last_y[i] >= 0;
        work.low[i] = reached ? groups.at[work.first_y[i]].low : kTile * kTile;
        work.high[i] = reached ? groups.at[work.last_y[i]].high : -1;
    }
    for (int r = 0; r < int(groups.number.size()); r++) {
        const Row* weights = groups.weights.data() + size_t(r) * tile.count;
        int used = 0;
        for (int i = 0; i < tile.count; i++) {  // without a branch: which of them reach the row is hard to foretell
            work.tile.weight[used] = weights[i], work.tile.entry[used] = i;
            used += int(work.low[i] <= r) & int(work.high[i] >= r);
        }
        const size_t pixel = size_t(groups.number[r]) * image.columns + tile.x0;
        const Row* values = reinterpret_cast<const Row*>(image.values) + pixel * image.blocks;
        scatter_blocks(work.tile, used, values, image.blocks, wide);
    }
}

void multiply_regions(const LiftImage& image, const Tile& tile, const Groups& groups, int stride, float* lane, float* wide) {
    const int width = 16 * image.blocks;
    for (size_t k = 0; k < groups.number.size(); k++) {
        const float* values = image.values + size_t(groups.number[k]) * width;
        const Row* weights = groups.weights.data() + k * tile.count;
        for (int i = 0; i < tile.count; i++) {
            const Vec4 parts = R::fold(weights[i]);
            const float weight = (parts[0] + parts[1]) + (parts[2] + parts[3]);
            if (weight == 0) continue;
            lane[i * stride] += weight;
            float* to = wide + size_t(i) * width;
            for (int c = 0; c < width; c += kLanes) store(to + c, load(to + c) + load(values + c) * weight);
        }
    }
}

void lift_tiles(const Context& context, const LiftImage* images, int image_count, LiftSums& sums) {
#pragma omp parallel num_threads(context.threads)
    {
        LiftWork work;
        work.groups = std::vector<Groups>(image_count);
#pragma omp for schedule(dynamic, 4)
        for (int number = 0; number < context.tile_count(); number++) {
            const int count = load_tile(work.tile, context, number);
            if (!count) continue;
            const int x0 = number % context.tiles_x * kTile, y0 = number / context.tiles_x * kTile;
            const Row inside = R::select_lt(lane_numbers(), splat(float(context.camera.width - x0)), splat(1), splat(0));
            const Tile tile = {context.tile_first[number], count, x0, y0, std::min(context.camera.height, y0 + kTile), inside};
            work.first_y.assign(count, kTile), work.last_y.assign(count, -1);
            blend_tile(context, images, work, sums, tile);
            float* lanes = sums.lanes.data() + size_t(tile.first) * sums.lane_count;
            for (int k = 0; k < image_count; k++) {
                const size_t width = size_t(images[k].blocks) * 16;
                float* wide = sums.wide[k].data() + tile.first * width;
                std::memset(wide, 0, sizeof(float) * count * width);
                if (images[k].index)
                    multiply_regions(images[k], tile, work.groups[k], sums.lane_count, lanes + sums.lane[k], wide);
                else
                    multiply_grid(images[k], work, tile, work.groups[k], wide);
            }
        }
    }
}

// Add up what the slots of a Gaussian hold of one image.
void gather_image(const LiftImage& image, const Buffer<float>& wide, const std::vector<int>& slots, int64_t id) {
    const size_t width = size_t(image.blocks) * 16;
    for (int c = 0; c < image.channels; c += kLanes) {
        Row sum = splat(0);
        for (const int slot : slots) sum += load(wide.data() + slot * width + c);
        const int lanes = std::min(kLanes, image.channels - c);
        float* to = image.sums + id * image.channels + c;
        store_partial(to, load_partial(to, lanes) + sum, lanes);
    }
}

// Ask for what gathering one Gaussian will read and write.
M3_INLINE void prefetch(const Context& context, const LiftImage* images, int count, const LiftSums& sums, int item) {
    const int64_t id = context.visible[item].id;
    for (int k = 0; k < count; k++) {
        const int width = images[k].blocks * 16;
        for (const Band& band : context.bands)
            for (int h = band.first[item]; h < band.first[item + 1]; h++)
                for (int c = 0; c < width; c += 16) __builtin_prefetch(sums.wide[k].data() + size_t(band.slot[h]) * width + c);
        for (int c = 0; c < images[k].channels; c += 16) __builtin_prefetch(images[k].sums + id * images[k].channels + c, 1);
        __builtin_prefetch(images[k].weights + id, 1);
    }
}

}  // namespace

void lift(Context& context, const LiftImage* images, int count, float* seen) {
    LiftSums sums(context, images, count);
    lift_tiles(context, images, count, sums);
    const int n = int(context.visible.size());
#pragma omp parallel num_threads(context.threads)
    {
        std::vector<int> slots;
        std::vector<double> lanes(sums.lane_count);
#pragma omp for schedule(static)
        for (int i = 0; i < n; i++) {
            const int64_t id = context.visible[i].id;
            if (i + kAhead < n) prefetch(context, images, count, sums, i + kAhead);
            slots.clear();
            std::fill(lanes.begin(), lanes.end(), 0.0);
            for (const Band& band : context.bands)
                for (int h = band.first[i]; h < band.first[i + 1]; h++) slots.push_back(band.slot[h]);
            for (const int slot : slots)
                for (int k = 0; k < sums.lane_count; k++) lanes[k] += sums.lanes[size_t(slot) * sums.lane_count + k];
            seen[id] += float(lanes[0]);
            for (int k = 0; k < count; k++) {
                images[k].weights[id] += float(lanes[sums.lane[k]]);
                gather_image(images[k], sums.wide[k], slots, id);
            }
        }
    }
}

}  // namespace m3
