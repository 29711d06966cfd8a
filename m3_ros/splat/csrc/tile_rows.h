// One row of sixteen pixels of one tile: which Gaussians reach it, and how they cover each other.
#pragma once

#include "context.h"
#include "simd.h"

namespace m3 {

// The Gaussians of one tile as arrays, and the entries of the row in work. One per thread.
struct TileWork {
    Buffer<float> storage;
    float *u, *v, *a, *b_over_a, *rest, *opacity, *cutoff, *z;
    Buffer<int> entry;                    // position in the tile of each entry of the row
    Buffer<Row> alpha, transmittance, weight, slope;
    Buffer<Row> sums;                     // lane sums of each Gaussian of the tile (backward)

    void reserve(int count) {
        const size_t n = (size_t(count) + 31) / 16 * 16;
        float* p = storage.reserve(8 * n);
        for (float** array : {&u, &v, &a, &b_over_a, &rest, &opacity, &cutoff, &z}) *array = p, p += n;
        entry.reserve(n + 32);
        alpha.reserve(n + 16), transmittance.reserve(n + 16), weight.reserve(n + 16), slope.reserve(n + 16);
    }
};

// Copy the Gaussians of a tile, padded to a multiple of sixteen with ones that reach nothing; returns how many.
inline int load_tile(TileWork& work, const Context& context, int tile) {
    const int first = context.tile_first[tile], count = context.tile_first[tile + 1] - first;
    work.reserve(count);
    for (int i = 0; i < count; i++) {
        const Visible& g = context.visible[context.slot_item[first + i]];
        work.u[i] = g.u, work.v[i] = g.v, work.a[i] = g.a, work.b_over_a[i] = g.b / g.a, work.rest[i] = g.rest;
        work.opacity[i] = g.opacity, work.cutoff[i] = g.cutoff, work.z[i] = g.z;
    }
    for (int i = count; i < (count + 15) / 16 * 16; i++) {
        work.u[i] = work.v[i] = work.b_over_a[i] = work.opacity[i] = work.z[i] = 0;
        work.a[i] = work.rest[i] = 1;
        work.cutoff[i] = -1;
    }
    return count;
}

// List the Gaussians whose ellipse reaches the segment of sixteen pixel centres from (x0 + 0.5, y); sixteen are tested at once.
M3_INLINE int find_entries(TileWork& work, int count, float x0, float y) {
    const Row left = splat(x0 + 0.5f), right = splat(x0 + 15.5f), row_y = splat(y);
    int* entry = work.entry.data();
    int found = 0;
    for (int i = 0; i < count; i += kLanes) {
        const Row dy = row_y - load(work.v + i), lowest = load(work.u + i) - load(work.b_over_a + i) * dy;
        const Row dx = R::min(right, R::max(left, lowest)) - lowest;
        const Row form = load(work.a + i) * dx * dx + load(work.rest + i) * dy * dy;
        found += append_set_bits(R::bits_le(form, load(work.cutoff + i) + 1e-4f), i, entry + found);
    }
    return found;
}

// Blend front to back: alpha_i = o_i exp(-q_i / 2), weight_i = alpha_i T_i, T_{i+1} = T_i - weight_i.
// Stores weights; with Keep also alpha and T. Returns the entries before the whole row was dark; `left` is what shines through.
template <bool Keep, bool Median>
M3_INLINE int blend_entries(TileWork& work, int found, float x0, float y, Row& left, Row& median) {
    const Row x = lane_numbers() + (x0 + 0.5f);
    const int* entry = work.entry.data();
    Row *weights = work.weight.data(), *alphas = work.alpha.data(), *transmittances = work.transmittance.data();
    Row T = splat(1);
    int n = 0;
    while (n < found) {
        const int i = entry[n];
        // Around the lowest point of the row: written out in dx and dy, the terms of a needle would cancel.
        const float dy = y - work.v[i], lowest = work.u[i] - work.b_over_a[i] * dy;
        const float slope = -0.0625f * work.a[i], constant = -0.0625f * work.rest[i] * dy * dy;
        const Row dx = x - lowest;
        const Row e = exp_of_eight_times(dx * slope * dx + constant);
        Row alpha = R::min(e * work.opacity[i], splat(kMaxAlpha));
        alpha = R::where_ge(alpha, splat(kMinAlpha), alpha);
        const Row weight = alpha * T;
        weights[n] = weight;
        if constexpr (Keep) alphas[n] = alpha, transmittances[n] = T;
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
