// One row of sixteen pixels of one tile: which Gaussians reach it, and how they cover each other.
#pragma once

#include "context.h"
#include "simd.h"

namespace m3 {

constexpr float kEighth = -0.0625f;  // form -> exponent / 8, as exp_of_eight_times() takes it

// The Gaussians of one tile as arrays, and the entries of the row in work. One per thread.
struct TileWork {
    Buffer<float> storage;
    float *u, *v, *b_over_a, *opacity, *z;
    float *slope, *drop, *faintest;       // of the exponent / 8: its parts by dx^2 and dy^2, and its least value above kMinAlpha
    float *lowest, *constant;             // of the row in work: where the exponent is greatest, and its value there / 8
    Buffer<float> features;               // [count, stride], next to each other
    Buffer<int> entry;                    // position in the tile of each entry of the row
    Buffer<Row> alpha, weight, light;     // light: what one more unit of weight would change (backward)
    Buffer<Row> sums;                     // lane sums of each Gaussian of the tile (backward)

    void reserve(int count) {
        const size_t n = (size_t(count) + 31) / 16 * 16;
        float* p = storage.reserve(10 * n);
        for (float** array : {&u, &v, &b_over_a, &opacity, &z, &slope, &drop, &faintest, &lowest, &constant}) *array = p, p += n;
        entry.reserve(n + 32);
        alpha.reserve(n + 16), weight.reserve(n + 16), light.reserve(n + 16);
    }
};

// Copy the Gaussians of a tile, padded to a multiple of sixteen with ones that reach nothing; returns how many.
inline int load_tile(TileWork& work, const Context& context, int tile) {
    const int first = context.tile_first[tile], count = context.tile_first[tile + 1] - first;
    const int* items = context.slot_item.data() + first;
    work.reserve(count);
    for (int i = 0; i < count; i++) {
        if (i + kAhead < count) __builtin_prefetch(&context.visible[items[i + kAhead]]);
        const Visible& g = context.visible[items[i]];
        work.u[i] = g.u, work.v[i] = g.v, work.b_over_a[i] = g.b_over_a, work.opacity[i] = g.opacity, work.z[i] = g.z;
        work.slope[i] = kEighth * g.a, work.drop[i] = kEighth * g.rest, work.faintest[i] = kEighth * (g.cutoff + 1e-4f);
    }
    for (int i = count; i < (count + 15) / 16 * 16; i++) {
        work.u[i] = work.v[i] = work.b_over_a[i] = work.opacity[i] = work.z[i] = 0;
        work.slope[i] = work.drop[i] = -1;
        work.faintest[i] = 1;
    }
    return count;
}

// Copy the channels of a tile's Gaussians: every one of its rows reads them again.
inline void load_features(TileWork& work, const Context& context, int tile, int count) {
    const int stride = context.layout.stride();
    const int* items = context.slot_item.data() + context.tile_first[tile];
    const float* packed = context.packed.data();
    float* out = work.features.reserve(size_t(count) * stride + 16);
    for (int i = 0; i < count; i++, out += stride) {
        if (i + kAhead < count)
            for (int c = 0; c < stride; c += 16) __builtin_prefetch(packed + int64_t(items[i + kAhead]) * stride + c);
        const float* in = packed + int64_t(items[i]) * stride;
        for (int c = 0; c < stride; c += 4) Ops<Vec4>::store(out + c, Ops<Vec4>::load(in + c));
    }
}

// List the Gaussians whose ellipse reaches the segment of sixteen pixel centres from (x0 + 0.5, y); sixteen are tested at once.
M3_INLINE int find_entries(TileWork& work, int count, float x0, float y) {
    const Row left = splat(x0 + 0.5f), right = splat(x0 + 15.5f), row_y = splat(y);
    int* entry = work.entry.data();
    int found = 0;
    for (int i = 0; i < count; i += kLanes) {
        const Row dy = row_y - load(work.v + i), lowest = load(work.u + i) - load(work.b_over_a + i) * dy;
        const Row dx = R::min(right, R::max(left, lowest)) - lowest, constant = load(work.drop + i) * dy * dy;
        store(work.lowest + i, lowest);
        store(work.constant + i, constant);
        const Row greatest = load(work.slope + i) * dx * dx + constant;
        found += append_set_bits(R::bits_le(load(work.faintest + i), greatest), i, entry + found);
    }
    return found;
}

// Blend front to back: alpha_i = o_i exp(-q_i / 2), weight_i = alpha_i T_i, T_{i+1} = T_i - weight_i.
// Stores weights; with Keep also alpha. Returns the entries before the whole row was dark; `left` is what shines through.
template <bool Keep, bool Median>
M3_INLINE int blend_entries(TileWork& work, int found, float x0, Row& left, Row& median) {
    const Row x = lane_numbers() + (x0 + 0.5f);
    const int* entry = work.entry.data();
    Row *weights = work.weight.data(), *alphas = work.alpha.data();
    const float *lowest = work.lowest, *slope = work.slope, *constant = work.constant, *opacity = work.opacity;
    Row T = splat(1);
    int n = 0;
    while (n < found) {
        const int i = entry[n];
        // Around the lowest point of the row: written out in dx and dy, the terms of a needle would cancel.
        const Row dx = x - lowest[i];
        const Row e = exp_of_eight_times(dx * slope[i] * dx + constant[i]);
        Row alpha = R::min(e * opacity[i], splat(kMaxAlpha));
        alpha = R::where_ge(alpha, splat(kMinAlpha), alpha);
        const Row weight = alpha * T;
        weights[n] = weight;
        if constexpr (Keep) alphas[n] = alpha;
        if constexpr (Median) {
            const Row after = T - weight;
            const Row crossed = R::select_lt(after, splat(0.5f), splat(work.z[i]), median);
            median = R::select_lt(T, splat(0.5f), median, crossed);
        }
        T -= weight;
        n++;
        if ((n & 3) == 0 && R::bits_le(splat(kMinTransmittance), T) == 0) break;
    }
    left = T;
    return n;
}

}  // namespace m3
