// Memory attention read out along a few directions: out[k][p] = sum_i softmax_i(q_p . key_i) value_ik.
//
// Sixteen queries lie side by side in a Row. The softmax is online: its running maximum, its sum and the read-outs stay in
// registers or in the first cache, and the attention over the components is never stored. Blocks of components that no
// query of the sixteen attends to cost no exponential: with a sharp softmax that is nearly all of them.
#include <algorithm>
#include <vector>

#include "attention.h"
#include "simd.h"

namespace m3 {
namespace {

constexpr int kComponents = kRegistersPerRow == 1 ? 8 : 8 / kRegistersPerRow;  // accumulators that fit into registers
constexpr int kMostTexts = 64;       // read-outs in one go; more are done in turns
constexpr float kNegligible = -30;   // 2 to this is below 1e-9 of the largest term

// 2^x for x <= 0 to 3e-6 of it; next to nothing below -126. Adding 1.5 * 2^23 rounds x to its whole part, which the lowest
// bits then hold: without an instruction for it, they are added to the exponent of 2 to the rest.
template <class V>
M3_INLINE V exp2_negative(V x) {
#if !defined(__AVX512F__)
    x = Ops<V>::max(x, Ops<V>::splat(-126.f));
#endif
    const V whole = x + 12582912.f, f = x - (whole - 12582912.f);
    V p = f * 0.00957010195f + 0.0559178616f;
    p = p * f + 0.240247448f;
    p = p * f + 0.693121815f;
    p = p * f + 0.999999261f;
#if defined(__AVX512F__)
    return (V)_mm512_scalef_ps((__m512)p, (__m512)(whole - 12582912.f));
#else
    typedef int Bits __attribute__((vector_size(sizeof(V))));
    return (V)((Bits)p + ((Bits)whole << 23));
#endif
}
template <class V>
M3_INLINE Pair<V> exp2_negative(Pair<V> x) {
    return {exp2_negative(x.lo), exp2_negative(x.hi)};
}

// The read-out of sixteen queries while the components go by.
struct ReadOut {
    Row highest, sum = splat(0);
    Row total[kMostTexts];
    int texts;

    ReadOut(int count, Row any_logit) : highest(any_logit), texts(count) { std::fill(total, total + texts, splat(0)); }

    // Take a logit that is higher by `rise` for the highest.
    M3_INLINE void rescale(Row rise) {
        const Row shrink = exp2_negative(splat(0) - rise);
        highest += rise;
        sum = sum * shrink;
        for (int k = 0; k < texts; k++) total[k] = total[k] * shrink;
    }

    // `logit` counts from the highest. Several are summed at once: a chain of additions would wait for each of them.
    template <int Count>
    M3_INLINE void add(const Row (&logit)[Count], const float* values, int stride) {
        Row weight[Count];
#pragma GCC unroll 8
        for (int j = 0; j < Count; j++) weight[j] = exp2_negative(logit[j]);
        for (int k = 0; k < texts; k++, values++) {
            Row even = total[k], odd = splat(0);
#pragma GCC unroll 8
            for (int j = 0; j < Count; j += 2) even += weight[j] * values[size_t(j) * stride];
#pragma GCC unroll 8
            for (int j = 1; j < Count; j += 2) odd += weight[j] * values[size_t(j) * stride];
            total[k] = even + odd;
        }
#pragma GCC unroll 8
        for (int step = 1; step < Count; step *= 2)
#pragma GCC unroll 8
            for (int j = 0; j + step < Count; j += 2 * step) weight[j] += weight[j + step];
        sum += weight[0];
    }
};

// `keys` are those of `Count` components, dimension by dimension.
template <int Count>
M3_INLINE void attend(ReadOut& out, const Row* query, const float* keys, const float* values, int dim, int stride) {
    Row logit[Count];
#pragma GCC unroll 8
    for (int j = 0; j < Count; j++) logit[j] = splat(0) - out.highest;
    for (int d = 0; d < dim; d++, keys += Count) {
        keys = in_one_register(keys);
        const Row q = query[d];
#pragma GCC unroll 8
        for (int j = 0; j < Count; j++) logit[j] += q * keys[j];
    }
    Row top = logit[0];
#pragma GCC unroll 8
    for (int j = 1; j < Count; j++) top = R::max(top, logit[j]);
    constexpr uint32_t all = (1u << kLanes) - 1;
    if (R::bits_le(top, splat(kNegligible)) == all) return;
    if (R::bits_le(top, splat(0)) != all) {
        const Row rise = R::max(top, splat(0));
        out.rescale(rise);
#pragma GCC unroll 8
        for (int j = 0; j < Count; j++) logit[j] = logit[j] - rise;
    }
    out.add(logit, values, stride);
}

void attend_all(ReadOut& out, const Row* query, const Attention& a, const float* keys, const float* values) {
    int i = 0;
    for (; i + kComponents <= a.components; i += kComponents)
        attend<kComponents>(out, query, keys + size_t(i) * a.dim, values + size_t(i) * a.texts, a.dim, a.texts);
    for (; i < a.components; i++)
        attend<1>(out, query, keys + size_t(i) * a.dim, values + size_t(i) * a.texts, a.dim, a.texts);
}

// Keys [components][dim] in the order that attend() reads them.
std::vector<float> packed(const Attention& a) {
    std::vector<float> keys(size_t(a.components) * a.dim);
    const int whole = a.components / kComponents * kComponents;
    for (int i = 0; i < a.components; i++)
        for (int d = 0; d < a.dim; d++) {
            const int block = i / kComponents * kComponents;
            const size_t to = i < whole ? size_t(block) * a.dim + d * kComponents + i - block : size_t(i) * a.dim + d;
            keys[to] = a.keys[size_t(i) * a.dim + d];
        }
    return keys;
}

}  // namespace

void read_out(const Attention& a, int64_t count, const float* queries, float* out, int threads) {
    const int64_t rows = (count + kLanes - 1) / kLanes;
    const std::vector<float> keys = packed(a);
#pragma omp parallel num_threads(threads)
    {
        Row query[kMostDims];
#pragma omp for schedule(dynamic, 16)
        for (int64_t row = 0; row < rows; row++) {
            const int64_t first = row * kLanes;
            const int lanes = int(std::min<int64_t>(kLanes, count - first));
            for (int d = 0; d < a.dim; d++) query[d] = load_partial(queries + d * count + first, lanes);
            for (int text = 0; text < a.texts; text += kMostTexts) {
                Row logit = splat(0);
                for (int d = 0; d < a.dim; d++) logit += query[d] * a.keys[d];
                ReadOut result(std::min(kMostTexts, a.texts - text), logit);
                attend_all(result, query, a, keys.data(), a.values + text);
                for (int k = 0; k < result.texts; k++)
                    store_partial(out + (text + k) * count + first, result.total[k] / result.sum, lanes);
            }
        }
    }
}

}  // namespace m3
