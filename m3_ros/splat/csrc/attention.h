// Memory attention over a bank, folded to short keys and read out along a few directions (texts).
#pragma once

#include <cstdint>

namespace m3 {

constexpr int kMostDims = 512;  // longest query

struct Attention {
    int components, dim, texts;
    const float* keys;    // [components][dim]
    const float* metric;  // W W^T [dim][dim], which gives |q W|
    float tau;
    const float* values;  // [components][texts]
};

// A component weighs e^(q . key / (|q W| tau)) for queries q [count][dim]; out [texts][count].
void read_out(const Attention& attention, int64_t count, const float* queries, float* out, int threads);

}  // namespace m3
