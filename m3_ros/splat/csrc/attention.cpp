// Memory attention read out along a few directions: out[k][p] = sum_i softmax_i(q_p . key_i) value_ik.
//
// Sixteen queries lie side by side in a Row. The softmax is online: its running maximum, its sum and the read-outs stay in
// registers or in the first cache, and the attention over all components is never stored. Queries whose logits are known
// to be moderate need no maximum: their exponentials stay in a float's range.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <vector>

#include "attention.h"
#include "simd.h"

namespace m3 {
namespace {

constexpr int kComponents = kRegistersPerRow == 1 ? 8 : 8 / kRegistersPerRow;  // accumulators that fit into registers
constexpr int kLogits = 128;         // logits that are made at once: they stay in the first cache
static_assert(kLogits % kComponents == 0, "only the last block may be a part of one");
constexpr int kMostTexts = 64;       // read-outs in one go; more are done in turns
constexpr float kLeastLength = 1e-6f;  // of |q W|: a zero query attends to all alike
constexpr float kModerate = 96.f;      // a logit to the base 2; 2^96, summed over 2^20 components, is still far from infinity

// 2^x for x in [-126, 126] to 3e-6 of it. Adding 1.5 * 2^23 rounds x to its whole part, which the lowest bits then hold:
// without an instruction for it, they are added to the exponent of 2 to the rest.
template <class V>
M3_INLINE V exp2_moderate(V x) {
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
M3_INLINE Pair<V> exp2_moderate(Pair<V> x) {
    return {exp2_moderate(x.lo), exp2_moderate(x.hi)};
}

// 2^x for x <= 0; next to nothing below -126.
M3_INLINE Row exp2_negative(Row x) {
#if defined(__AVX512F__)
    return exp2_moderate(x);  // whose instruction for the exponent takes any
#else
    return exp2_moderate(R::max(x, splat(-126.f)));
#endif
}

// The read-out of sixteen queries while the components go by.
struct ReadOut {
    Row highest, sum = splat(0);
    Row total[kMostTexts];
    int texts;

    ReadOut(int count, Row any_logit) : highest(any_logit), texts(count) { std::fill(total, total + texts, splat(0)); }

    // Take a logit that is higher by `rise` for the highest.
    void rescale(Row rise) {
        const Row shrink = exp2_negative(splat(0) - rise);
        highest += rise;
        sum = sum * shrink;
        for (int k = 0; k < texts; k++) total[k] = total[k] * shrink;
    }

    // Logits that count from the highest, `top` the largest of them; they become weights. On its own: inside attend() it
    // would compete for registers with the products.
    template <bool Moderate>
    __attribute__((noinline)) void add(Row* logit, int count, Row top, const float* values, int stride) {
        const Row rise = R::max(top, splat(0));
        if (!Moderate && R::bits_le(top, splat(0)) != (1u << kLanes) - 1) rescale(rise);
        Row weights = splat(0), read = splat(0);
#pragma GCC unroll 4
        for (int i = 0; i < count; i++) {
            const Row weight = Moderate ? exp2_moderate(logit[i]) : exp2_negative(logit[i] - rise);
            weights += weight;
            read += weight * values[size_t(i) * stride];
            logit[i] = weight;
        }
        sum += weights;
        total[0] += read;
        int k = 1;
        for (; k + 4 <= texts; k += 4) add_texts<4>(total + k, logit, count, values + k, stride);
        if (texts - k == 3) add_texts<3>(total + k, logit, count, values + k, stride);
        if (texts - k == 2) add_texts<2>(total + k, logit, count, values + k, stride);
        if (texts - k == 1) add_texts<1>(total + k, logit, count, values + k, stride);
    }

    // In the order in which add() sums the first text: the same text gives the same bits wherever it stands.
    template <int Texts>
    static M3_INLINE void add_texts(Row* total, const Row* weight, int count, const float* values, int stride) {
        Row read[Texts];
        std::fill(read, read + Texts, splat(0));
        for (int i = 0; i < count; i++)
#pragma GCC unroll 4
            for (int k = 0; k < Texts; k++) read[k] += weight[i] * values[size_t(i) * stride + k];
        for (int k = 0; k < Texts; k++) total[k] += read[k];
    }
};

// Logits, counted from -start, of `Count` components, whose keys are given dimension by dimension. Returns the largest.
template <int Count>
M3_INLINE Row multiply(Row* logit, Row start, const Row* query, const float* keys, int dim) {
    Row sum[Count];
#pragma GCC unroll 8
    for (int j = 0; j < Count; j++) sum[j] = start;
#pragma GCC unroll 4
    for (int d = 0; d < dim; d++, keys += Count) {
        keys = in_one_register(keys);
        const Row q = query[d];
#pragma GCC unroll 8
        for (int j = 0; j < Count; j++) sum[j] += q * keys[j];
    }
    Row largest = sum[0];
#pragma GCC unroll 8
    for (int j = 1; j < Count; j++) largest = R::max(largest, sum[j]);
#pragma GCC unroll 8
    for (int j = 0; j < Count; j++) logit[j] = sum[j];
    return largest;
}

// Many logits first and then their exponentials: one block at a time, the steps of an exponential, each of which waits for
// the one before, would stand between the products of two blocks.
template <bool Moderate>
void attend(ReadOut& out, const Row* query, const Attention& a, const float* keys, const float* values) {
    Row logit[kLogits];
    for (int left = a.components; left > 0; left -= kLogits) {
        const int count = std::min(kLogits, left);
        const Row start = Moderate ? splat(0) : splat(0) - out.highest;
        Row top = splat(-FLT_MAX);
        int i = 0;
        for (; i + kComponents <= count; i += kComponents)
            top = R::max(top, multiply<kComponents>(logit + i, start, query, keys + size_t(i) * a.dim, a.dim));
        for (; i < count; i++)
            top = R::max(top, multiply<1>(logit + i, start, query, keys + size_t(i) * a.dim, a.dim));
        out.add<Moderate>(logit, count, top, values, a.texts);
        keys += size_t(kLogits) * a.dim, values += size_t(kLogits) * a.texts;
    }
}

// Keys [components][dim] in the order that multiply() reads them.
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

float longest_key(const Attention& a) {
    float longest = 0;
    for (int i = 0; i < a.components; i++) {
        float square = 0;
        for (int d = 0; d < a.dim; d++) square += a.keys[size_t(i) * a.dim + d] * a.keys[size_t(i) * a.dim + d];
        longest = std::max(longest, std::sqrt(square));
    }
    return longest;
}

// Whether no product of the queries with keys of that length, by Cauchy and Schwarz, is immoderate.
bool moderate(const Row* query, int dim, float longest) {
    Row square = splat(0);
    for (int d = 0; d < dim; d++) square += query[d] * query[d];
    return R::bits_le(square * (longest * longest), splat(kModerate * kModerate)) == (1u << kLanes) - 1;
}

// Queries [lanes][dim] side by side, each times log2(e) / (|q W| tau): its products with the keys are logits to the base 2.
void load_sharpened(Row* query, const Attention& a, const float* queries, int lanes) {
    for (int d = 0; d < a.dim; d++) {
        float side_by_side[kLanes] = {};
        for (int i = 0; i < lanes; i++) side_by_side[i] = queries[size_t(i) * a.dim + d];
        query[d] = load(side_by_side);
    }
    Row square = splat(0);
    for (int d = 0; d < a.dim; d++) {
        Row along = splat(0);
        for (int e = 0; e < a.dim; e++) along += query[e] * a.metric[size_t(d) * a.dim + e];
        square += along * query[d];
    }
    float sharpness[kLanes];
    store(sharpness, square);
    for (float& x : sharpness) x = float(M_LOG2E) / (std::max(std::sqrt(std::max(x, 0.f)), kLeastLength) * a.tau);
    const Row by = load(sharpness);
    for (int d = 0; d < a.dim; d++) query[d] = query[d] * by;
}

}  // namespace

void read_out(const Attention& a, int64_t count, const float* queries, float* out, int threads) {
    const int64_t rows = (count + kLanes - 1) / kLanes;
    const std::vector<float> keys = packed(a);
    const float longest = longest_key(a);
#pragma omp parallel num_threads(threads)
    {
        Row query[kMostDims];
#pragma omp for schedule(dynamic, 16)
        for (int64_t row = 0; row < rows; row++) {
            const int64_t first = row * kLanes;
            const int lanes = int(std::min<int64_t>(kLanes, count - first));
            load_sharpened(query, a, queries + first * a.dim, lanes);
            const auto attend_row = moderate(query, a.dim, longest) ? attend<true> : attend<false>;
            for (int text = 0; text < a.texts; text += kMostTexts) {
                Row logit = splat(0);
                for (int d = 0; d < a.dim; d++) logit += query[d] * a.keys[d];
                ReadOut result(std::min(kMostTexts, a.texts - text), logit);
                attend_row(result, query, a, keys.data(), a.values + text);
                for (int k = 0; k < result.texts; k++)
                    store_partial(out + (text + k) * count + first, result.total[k] / result.sum, lanes);
            }
        }
    }
}

}  // namespace m3
