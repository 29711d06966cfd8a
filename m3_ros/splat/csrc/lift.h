// What several encoders saw from one pose, gathered onto the Gaussians that they saw it on, by one pass over the weights.
#pragma once

#include "context.h"

namespace m3 {

constexpr int kSpot = 2;  // pixels along each side of a spot: what was seen has one value there
constexpr int kSpots = kTile / kSpot;

// What one encoder saw: vectors of cells or of regions, each projected to `blocks` times sixteen numbers, some of which may be
// padding. Read by Python's ctypes as it stands: see kernel.py.
struct LiftImage {
    const void* features;   // a grid: [rows * columns][length]; regions: [count][length]; floats, or halves
    const float* matrix;    // [length][16 * blocks]
    const uint8_t* valid;   // of a grid [rows][columns]: which cells hold a vector; null: regions
    const int64_t* index;   // [rows][columns]: the region of each cell, -1 for none; null: a grid
    int32_t count, length, rows, columns, blocks;
    int32_t normalised;     // project vectors at length one
    int32_t halves;         // features are of half precision
};

// The projected features of one encoder, and where they go among the numbers of a spot.
struct Projected {
    Buffer<float> vectors;  // of cells or regions: [count][16 * blocks]
    int first;              // column of the first of them
    int known;              // column of whether there is a feature; -1: there always is
};

inline int spots_of(int pixels) { return (pixels + kSpot - 1) / kSpot; }

// Whether there is no feature at some cells; asked of every view, since a column of each spot depends on it.
bool has_holes(const LiftImage& image);

// Project what every encoder saw. Called by all threads of a parallel region, which leave it together.
void project_all(const LiftImage* images, int count, Projected* out);

// Bring what one encoder saw to the spots of the tile at (x0, y0): [kSpots][kSpots] times `stride` numbers.
void fill_spots(const Camera& camera, const LiftImage& image, const Projected& projected, int x0, int y0, int stride, float* out);

// The totals of a Gaussian lie side by side, since Gaussians come in any order: weight * value of each image, then each image's
// weights of pixels where there is a value, then the weights of all pixels; padded to a multiple of sixteen. Added to.
void lift(Context& context, const LiftImage* images, int count, float* totals);

}  // namespace m3
