// What several encoders saw from one pose, gathered onto the Gaussians that they saw it on, by one pass over the weights.
#pragma once

#include "context.h"

namespace m3 {

// The features of one encoder, projected to `channels` numbers each and padded with zeros to `blocks` times sixteen.
// A grid is interpolated along its rows already, between them here. Read by Python's ctypes as it stands: see lifting.py.
struct LiftImage {
    const float* values;   // a grid: [rows][columns][16 * blocks]; regions: [region][16 * blocks]
    const float* factor;   // [height][columns]: what the weight of each pixel is multiplied by; null: one
    const int32_t* index;  // [height][columns]: the region of each pixel, -1 for none; null: a grid
    float* sums;           // [N][channels], added to
    float* weights;        // [N], added to: weights of the pixels that have a feature
    int32_t rows;          // of a grid
    int32_t columns;       // width of the view, rounded up to whole tiles
    int32_t channels, blocks;
};

// sums += weight * value, weights += weight where there is a value, seen [N] += weight.
void lift(Context& context, const LiftImage* images, int count, float* seen);

}  // namespace m3
