// The passes over the tiles of a prepared view.
#pragma once

#include "context.h"

namespace m3 {

// Channels of a colour image as planes [channels, height, width]. A null plane reads as zero and is not written.
struct Planes {
    float* channels;
    float* depth;  // the channel after the last: sum of weight * z (or, when accumulating, ones)
    int count;

    float* plane(int index, size_t pixels) const {
        if (index < count) return channels ? channels + index * pixels : nullptr;
        return index == count ? depth : nullptr;
    }
};

// Where gradients are added; null where none is wanted.
struct Gradients {
    float *means, *quats, *scales, *opacities, *features;
    double* viewmat;  // [4, 4]
};

Layout make_layout(int channels);

// features [N, channels]; alpha [H, W]; median may be null.
void forward(Context& context, const float* features, const Planes& out, float* alpha, float* median);

// `d_out` holds the gradients of what forward wrote; d_alpha may be null. Same bits on every run.
void backward(Context& context, const Scene& scene, const Planes& d_out, const float* d_alpha, const Gradients& gradients);

// sums [N, channels] += weight * value and weights [N] += weight over the pixels of this view.
void accumulate(Context& context, const Planes& values, float* sums, float* weights);

// Mean SSIM of two images [planes, height, width] with 11x11 Gaussian windows and zero padding; `gradient` (of the mean
// by `a`) may be null.
double ssim(int planes, int height, int width, const float* a, const float* b, float* gradient, int threads);

// Vector instructions that `threads` threads issue in a second at best, measured with multiply-adds in registers.
double issue_rate(int threads);

}  // namespace m3
