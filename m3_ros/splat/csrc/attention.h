// Memory attention over a bank, folded to short keys and read out along a few directions (texts).
#pragma once

#include <cstdint>

namespace m3 {

constexpr int kMostDims = 512;  // longest query

struct Attention {
    int components, dim, texts;
    const float* keys;    // [components][dim]
    const float* values;  // [components][texts]
};

// queries [dim][count], scaled so that a component weighs 2^(query . key); out [texts][count].
void read_out(const Attention& attention, int64_t count, const float* queries, float* out, int threads);

}  // namespace m3
