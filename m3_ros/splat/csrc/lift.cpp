// Features are coarser than pixels, so the weights of a Gaussian are added up over spots of 2x2 pixels first: that is the same
// for all encoders. What each of them adds is a product of the few spots that a Gaussian reaches with its features there.
#include "lift.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "raster.h"
#include "simd.h"
#include "tile_rows.h"

namespace m3 {
namespace {

// What all images show. The channels of one lie beside those of the next, and behind them all, of images with holes, whether
// there is a feature.
struct Seen {
    const LiftImage* images;
    std::vector<Projected> projected;  // of each image
    int channels = 0;                  // of all images, each padded to sixteens
    int stride = 0;                    // numbers of a spot
    int total_stride = 0;              // numbers of a Gaussian

    Seen(const LiftImage* of, int count) : images(of), projected(count) {
        for (int k = 0; k < count; k++) {
            projected[k].first = stride, projected[k].known = -1;
            projected[k].vectors.reserve(size_t(of[k].count) * 16 * of[k].blocks + 16);
            stride += 16 * of[k].blocks;
        }
        channels = stride;
        for (int k = 0; k < count; k++)
            if (has_holes(of[k])) projected[k].known = stride++;
        stride = (stride + 15) / 16 * 16, total_stride = (channels + count + 16) / 16 * 16;
    }

    int count() const { return int(projected.size()); }
};

// What every slot (Gaussian, tile) has collected. Slots never share memory: no locks, and the same bits on every run.
struct LiftSums {
    Buffer<float> wide;  // [slots][stride]; not set where nothing was seen, most often because the Gaussian is covered there
    Buffer<float> seen;  // [slots]

    LiftSums(const Context& context, int stride) {
        wide.reserve(size_t(context.slot_count()) * stride + 16);
        seen.reserve(context.slot_count() + 16);
    }
};

struct Tile {
    int first, count, x0, y0, y1;
};

// The spots that one Gaussian of a tile reaches.
struct Reached {
    int count = 0;
    int place[kSpots * kSpots + 1];  // of their numbers among those of the tile
    float weight[kSpots * kSpots + 1];
};

struct LiftWork {
    TileWork tile;
    Buffer<Row> rows;               // [Gaussian of the tile][row of spots]: weights of the pixels of a row, two rows added up
    std::vector<int> first, last;   // rows of spots that each Gaussian reaches
    Reached reached;
    Buffer<float> spots;            // [kSpots][kSpots][stride]: what all images show there

    explicit LiftWork(int stride) {
        std::memset(spots.reserve(kSpots * kSpots * stride), 0, sizeof(float) * kSpots * kSpots * stride);
    }
};

void blend_tile(const Context& context, LiftWork& work, const Tile& tile) {
    const size_t size = size_t(tile.count) * kSpots;
    Row* rows = work.rows.reserve(size + 1);
    std::memset(static_cast<void*>(rows), 0, sizeof(Row) * size);
    work.first.assign(tile.count, kSpots), work.last.assign(tile.count, -1);
    const Row inside = R::select_lt(lane_numbers(), splat(float(context.camera.width - tile.x0)), splat(1), splat(0));
    for (int y = tile.y0; y < tile.y1; y++) {
        const int found = find_entries(work.tile, tile.count, float(tile.x0), y + 0.5f), r = (y - tile.y0) / kSpot;
        Row left, unused;
        const int used = blend_entries<false, false>(work.tile, found, float(tile.x0), left, unused);
        for (int e = 0; e < used; e++) {
            const int i = work.tile.entry[e];
            rows[i * kSpots + r] += work.tile.weight[e] * inside;
            work.first[i] = std::min(work.first[i], r), work.last[i] = r;
        }
    }
}

// List the spots of a Gaussian; returns the sum of its weights.
float list_spots(const LiftWork& work, int i, int stride, Reached& out) {
    float sum = 0;
    out.count = 0;
    for (int r = work.first[i]; r <= work.last[i]; r++) {
        const float* pixels = reinterpret_cast<const float*>(work.rows.data() + i * kSpots + r);
        for (int s = 0; s < kSpots; s++) {  // without a branch: which of them are reached is hard to foretell
            const float weight = pixels[kSpot * s] + pixels[kSpot * s + 1];
            out.place[out.count] = (r * kSpots + s) * stride, out.weight[out.count] = weight;
            out.count += weight > 0;
            sum += weight;
        }
    }
    return sum;
}

// out[:] = sum over the reached spots of weight * value, for `Group` blocks of sixteen channels at once. Two chains of
// additions, because a single one would wait for each of them, whatever the group: the same bits beside any other image.
template <int Group>
M3_INLINE void multiply(const Reached& reached, const float* values, float* out) {
    Row even[Group], odd[Group];
#pragma GCC unroll 8
    for (int g = 0; g < Group; g++) even[g] = odd[g] = splat(0);
    int s = 0;
    for (; s + 1 < reached.count; s += 2) {
        const float* a = in_one_register(values + reached.place[s]);
        const float* b = in_one_register(values + reached.place[s + 1]);
        const float of_a = reached.weight[s], of_b = reached.weight[s + 1];
#pragma GCC unroll 8
        for (int g = 0; g < Group; g++) {
            even[g] += load(a + 16 * g) * of_a;
            odd[g] += load(b + 16 * g) * of_b;
        }
    }
    if (s < reached.count) {
        const float* a = values + reached.place[s];
#pragma GCC unroll 8
        for (int g = 0; g < Group; g++) even[g] += load(a + 16 * g) * reached.weight[s];
    }
#pragma GCC unroll 8
    for (int g = 0; g < Group; g++) store(out + 16 * g, even[g] + odd[g]);
}

// The same for all channels of all images, which lie side by side.
void multiply_all(const Reached& reached, const float* values, int stride, float* out) {
    int c = 0;
    for (; c + 16 * kLiftGroup <= stride; c += 16 * kLiftGroup) multiply<kLiftGroup>(reached, values + c, out + c);
    if constexpr (kLiftGroup > 2)
        for (; c + 32 <= stride; c += 32) multiply<2>(reached, values + c, out + c);
    for (; c < stride; c += 16) multiply<1>(reached, values + c, out + c);
}

void lift_tile(const Camera& camera, const Seen& seen, LiftWork& work, LiftSums& sums, const Tile& tile) {
    float* spots = work.spots.data();
    for (int k = 0; k < seen.count(); k++)
        fill_spots(camera, seen.images[k], seen.projected[k], tile.x0, tile.y0, seen.stride, spots);
    for (int i = 0; i < tile.count; i++) {
        const size_t slot = size_t(tile.first + i);
        sums.seen[slot] = list_spots(work, i, seen.stride, work.reached);
        if (work.reached.count) multiply_all(work.reached, spots, seen.stride, sums.wide.data() + slot * seen.stride);
    }
}

// Add what the slots of a Gaussian hold to its totals.
M3_INLINE void add_to_totals(const Seen& all, const std::vector<const float*>& slots, float seen, float* totals) {
    for (int c = 0; c < all.channels; c += 16) {
        Row sum = load(totals + c);
        for (const float* slot : slots) sum += load(slot + c);
        store(totals + c, sum);
    }
    float* weights = totals + all.channels;
    for (int k = 0; k < all.count(); k++) {
        const int known = all.projected[k].known;
        if (known < 0)
            weights[k] += seen;
        else
            for (const float* slot : slots) weights[k] += slot[known];
    }
    weights[all.count()] += seen;
}

// Ask for what gathering one Gaussian will read and write.
M3_INLINE void prefetch(const Context& context, const Seen& seen, const LiftSums& sums, int item, const float* totals) {
    for (const Band& band : context.bands)
        for (int h = band.first[item]; h < band.first[item + 1]; h++) {
            const size_t slot = band.slot[h];
            if (sums.seen[slot] == 0) continue;
            for (int c = 0; c < seen.stride; c += 16) __builtin_prefetch(sums.wide.data() + slot * seen.stride + c);
        }
    for (int c = 0; c < seen.total_stride; c += 16) __builtin_prefetch(totals + c, 1);
}

}  // namespace

void lift(Context& context, const LiftImage* images, int count, float* totals) {
    Seen all(images, count);
    LiftSums sums(context, all.stride);
    const int n = int(context.visible.size());
    const auto totals_of = [&](int item) { return totals + size_t(context.visible[item].id) * all.total_stride; };
#pragma omp parallel num_threads(context.threads)
    {
        LiftWork work(all.stride);
        std::vector<const float*> slots;
        project_all(images, count, all.projected.data());
#pragma omp for schedule(dynamic, 1)
        for (int number = 0; number < context.tile_count(); number++) {
            const int tile_count = load_tile(work.tile, context, number);
            if (!tile_count) continue;
            const int x0 = number % context.tiles_x * kTile, y0 = number / context.tiles_x * kTile;
            const Tile tile = {context.tile_first[number], tile_count, x0, y0, std::min(context.camera.height, y0 + kTile)};
            blend_tile(context, work, tile);
            lift_tile(context.camera, all, work, sums, tile);
        }
#pragma omp for schedule(dynamic, 256)
        for (int i = 0; i < n; i++) {
            if (i + kAhead < n) prefetch(context, all, sums, i + kAhead, totals_of(i + kAhead));
            slots.clear();
            float seen = 0;
            for (const Band& band : context.bands)
                for (int h = band.first[i]; h < band.first[i + 1]; h++) {
                    const size_t slot = band.slot[h];
                    if (sums.seen[slot] == 0) continue;
                    slots.push_back(sums.wide.data() + slot * all.stride), seen += sums.seen[slot];
                }
            if (!slots.empty()) add_to_totals(all, slots, seen, totals_of(i));
        }
    }
}

}  // namespace m3
