// What several encoders saw from one pose, gathered onto the Gaussians that they saw it on, by one pass over the weights.
#pragma once

#include "context.h"

namespace m3 {

constexpr int kSpot = 2;  // pixels along each side of a spot: what was seen has one value there
constexpr int kSpots = kTile / kSpot;

// What one encoder saw: vectors of cells or of regions, each projected to `channels` numbers, which are padded with zeros to
// `blocks` times sixteen. Read by Python's ctypes as it stands: see kernel.py.
struct LiftImage {
    const float* features;  // a grid: [rows * columns][length]; regions: [count][length]
    const float* matrix;    // [length][16 * blocks]
    const uint8_t* valid;   // of a grid [rows][columns]: which cells hold a vector; null: all
    const int64_t* index;   // [rows][columns]: the region of each cell, -1 for none; null: a grid
    float* sums;            // [N][channels], added to
    float* weights;         // [N], added to: weights of the pixels that have a feature
    int32_t count, length, rows, columns, channels, blocks;
    int32_t normalised;     // project vectors at length one
};

// The projected features of one encoder at every spot of a view.
struct Spotted {
    int width = 0;          // 16 * blocks
    Buffer<float> values;   // [rows of spots][spots of a row][width]; zero where there is no feature
    Buffer<float> known;    // [rows of spots][spots of a row]: 1 where there is a feature, 0 elsewhere
    bool holes = false;     // there may be spots without a feature; else `known` is not set
    Buffer<float> vectors;  // the projected vectors of cells or regions
};

inline int spots_of(int pixels) { return (pixels + kSpot - 1) / kSpot; }

void prepare_spots(const Camera& camera, const LiftImage& image, Spotted& out);

// Called by all threads of a parallel region, which leave it together; every `out` was prepared before.
void fill_spots(const Camera& camera, const LiftImage* images, int count, Spotted* out);

// sums += weight * value, weights += weight where there is a value, seen [N] += weight.
void lift(Context& context, const LiftImage* images, int count, float* seen);

}  // namespace m3
