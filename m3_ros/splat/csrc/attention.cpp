// Memory attention read out along a few directions: out[k][p] = sum_i softmax_i(q_p . key_i) value_ik.
//
// Sixteen queries lie side by side in a Row. The softmax is online: its running maximum, its sum and the read-outs stay in
// registers or in the first cache, and the attention over the components is never stored. Blocks of components that no
// query of the sixteen attends to cost no exponential: with a sharp softmax that is nearly all of them.
#include <algorithm>

#include "attention.h"
#include "simd.h"

namespace m3 {
namespace {

constexpr int kComponents = kRegistersPerRow == 1 ? 8 : 8 / kRegistersPerRow;  // accumulators that fit into registers
constexpr int kMostTexts = 64;       // read-outs in one go; more are done in turns
constexpr float kNegligible = -35;   // 2 to this is below 4e-11 of the largest term

// 2^x for x <= 0; relative error below 1e-5 down to x = -35, and next to nothing beyond.
M3_INLINE Row exp2_negative(Row x) {
#if defined(__AVX512F__)
    const __m512 fraction = _mm512_reduce_ps((__m512)x, 0);
    Row f = (Row)fraction, p = f * 0.00133541f + 0.00966791f;
    p = p * f + 0.0555037f;
    p = p * f + 0.24022652f;
    p = p * f + 0.69314718f;
    p = p * f + 1.f;
    return (Row)_mm512_scalef_ps((__m512)p, (__m512)(x - f));
#else
    Row p = exp_negative(R::max(x, splat(kNegligible)) * (0.69314718f / 4));
    p = p * p;
    return p * p;
#endif
}

// The read-out of sixteen queries while the components go by.
struct ReadOut {
    Row highest = splat(-1e30f), sum = splat(0);
    Row total[kMostTexts];
    int texts;

    explicit ReadOut(int count) : texts(count) { std::fill(total, total + texts, splat(0)); }

    M3_INLINE void rescale(Row top) {
        const Row higher = R::max(highest, top), shrink = exp2_negative(highest - higher);
        highest = higher;
        sum = sum * shrink;
        for (int k = 0; k < texts; k++) total[k] = total[k] * shrink;
    }

    M3_INLINE void add(Row logit, const float* values) {
        const Row weight = exp2_negative(logit - highest);
        sum += weight;
        for (int k = 0; k < texts; k++) total[k] += weight * values[k];
    }
};

template <int Count>
M3_INLINE void attend(ReadOut& out, const Row* query, const float* keys, const float* values, int dim, int stride) {
    Row logit[Count];
    for (int j = 0; j < Count; j++) logit[j] = splat(0);
    for (int d = 0; d < dim; d++) {
#pragma GCC unroll 8
        for (int j = 0; j < Count; j++) logit[j] += query[d] * keys[size_t(j) * dim + d];
    }
    Row top = logit[0];
    for (int j = 1; j < Count; j++) top = R::max(top, logit[j]);
    constexpr uint32_t all = (1u << kLanes) - 1;
    if (R::bits_le(top, out.highest + kNegligible) == all) return;
    if (R::bits_le(top, out.highest) != all) out.rescale(top);
    for (int j = 0; j < Count; j++) out.add(logit[j], values + size_t(j) * stride);
}

void attend_all(ReadOut& out, const Row* query, const Attention& a, const float* values) {
    int i = 0;
    for (; i + kComponents <= a.components; i += kComponents)
        attend<kComponents>(out, query, a.keys + size_t(i) * a.dim, values + size_t(i) * a.texts, a.dim, a.texts);
    for (; i < a.components; i++)
        attend<1>(out, query, a.keys + size_t(i) * a.dim, values + size_t(i) * a.texts, a.dim, a.texts);
}

}  // namespace

void read_out(const Attention& a, int64_t count, const float* queries, float* out, int threads) {
    const int64_t rows = (count + kLanes - 1) / kLanes;
#pragma omp parallel num_threads(threads)
    {
        Row query[kMostDims];
#pragma omp for schedule(dynamic, 16)
        for (int64_t row = 0; row < rows; row++) {
            const int64_t first = row * kLanes;
            const int lanes = int(std::min<int64_t>(kLanes, count - first));
            for (int d = 0; d < a.dim; d++) query[d] = load_partial(queries + d * count + first, lanes);
            for (int text = 0; text < a.texts; text += kMostTexts) {
                ReadOut result(std::min(kMostTexts, a.texts - text));
                attend_all(result, query, a, a.values + text);
                for (int k = 0; k < result.texts; k++)
                    store_partial(out + (text + k) * count + first, result.total[k] / result.sum, lanes);
            }
        }
    }
}

}  // namespace m3
