// Sixteen floats side by side: one row of pixels of a tile, or sixteen channels.
//
// AVX-512 holds a Row in one register, AVX2 in two and the baseline (SSE2, NEON) in four. GCC would split a 64-byte
// vector through the stack, which costs 3-10x; Pair makes the split explicit, so that every half stays in a register.
#pragma once

#include <cstdint>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#endif

#define M3_INLINE inline __attribute__((always_inline))

namespace m3 {

template <class V>
struct Pair {
    V lo, hi;
};

typedef float Vec4 __attribute__((vector_size(16)));
typedef float Vec8 __attribute__((vector_size(32)));
typedef float Vec16 __attribute__((vector_size(64)));

#if defined(__AVX512F__)
using Row = Vec16;
constexpr int kBlock = 16;     // channels blended at once: accumulators that fit into registers
constexpr int kWideGroup = 4;  // rows of channels whose gradients are accumulated at once
#elif defined(__AVX2__)
using Row = Pair<Vec8>;
constexpr int kBlock = 4;
constexpr int kWideGroup = 1;
#elif defined(__aarch64__)
using Row = Pair<Pair<Vec4>>;
constexpr int kBlock = 4;
constexpr int kWideGroup = 1;
#else
using Row = Pair<Pair<Vec4>>;
constexpr int kBlock = 2;
constexpr int kWideGroup = 1;
#endif

constexpr int kLanes = 16;

// ---- one register ------------------------------------------------------------------------------------------------
template <class V>
struct Ops {
    static constexpr int lanes = sizeof(V) / sizeof(float);

    static M3_INLINE V splat(float x) { return V{} + x; }
    static M3_INLINE V load(const float* p) {
        V v;
        __builtin_memcpy(&v, p, sizeof(V));
        return v;
    }
    static M3_INLINE void store(float* p, V v) { __builtin_memcpy(p, &v, sizeof(V)); }
    static M3_INLINE V min(V a, V b) {
#if defined(__AVX512F__)
        if constexpr (lanes == 16) return (V)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
        if constexpr (lanes == 8) return (V)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
        if constexpr (lanes == 4) return (V)_mm_min_ps((__m128)a, (__m128)b);
#endif
        return a < b ? a : b;
    }
    static M3_INLINE V max(V a, V b) {
#if defined(__AVX512F__)
        if constexpr (lanes == 16) return (V)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
        if constexpr (lanes == 8) return (V)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
        if constexpr (lanes == 4) return (V)_mm_max_ps((__m128)a, (__m128)b);
#endif
        return a > b ? a : b;
    }
    static M3_INLINE V where_ge(V a, V b, V yes) { return a >= b ? yes : V{}; }
    static M3_INLINE V where_lt(V a, V b, V yes) { return a < b ? yes : V{}; }
    static M3_INLINE V select_lt(V a, V b, V yes, V no) { return a < b ? yes : no; }
    static M3_INLINE uint32_t bits_le(V a, V b) {
#if defined(__AVX512F__)
        if constexpr (lanes == 16) return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LE_OQ);
#elif defined(__AVX2__)
        if constexpr (lanes == 8) return _mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_LE_OQ));
#elif defined(__SSE2__)
        if constexpr (lanes == 4) return _mm_movemask_ps(_mm_cmple_ps((__m128)a, (__m128)b));
#endif
        uint32_t bits = 0;
        for (int i = 0; i < lanes; i++) bits |= uint32_t(a[i] <= b[i]) << i;
        return bits;
    }
    static M3_INLINE float sum(V a) {
#if defined(__AVX512F__)
        if constexpr (lanes == 16) return _mm512_reduce_add_ps((__m512)a);
#endif
        float total = 0;
        for (int i = 0; i < lanes; i++) total += a[i];
        return total;
    }
};

// ---- two halves --------------------------------------------------------------------------------------------------
template <class V>
M3_INLINE Pair<V> operator+(Pair<V> a, Pair<V> b) { return {a.lo + b.lo, a.hi + b.hi}; }
template <class V>
M3_INLINE Pair<V> operator-(Pair<V> a, Pair<V> b) { return {a.lo - b.lo, a.hi - b.hi}; }
template <class V>
M3_INLINE Pair<V> operator*(Pair<V> a, Pair<V> b) { return {a.lo * b.lo, a.hi * b.hi}; }
template <class V>
M3_INLINE Pair<V> operator/(Pair<V> a, Pair<V> b) { return {a.lo / b.lo, a.hi / b.hi}; }
template <class V>
M3_INLINE Pair<V> operator*(Pair<V> a, float b) { return {a.lo * b, a.hi * b}; }
template <class V>
M3_INLINE Pair<V> operator+(Pair<V> a, float b) { return {a.lo + b, a.hi + b}; }
template <class V>
M3_INLINE Pair<V> operator-(Pair<V> a, float b) { return {a.lo - b, a.hi - b}; }
template <class V>
M3_INLINE Pair<V>& operator+=(Pair<V>& a, Pair<V> b) { return a = a + b; }
template <class V>
M3_INLINE Pair<V>& operator-=(Pair<V>& a, Pair<V> b) { return a = a - b; }

template <class V>
struct Ops<Pair<V>> {
    using P = Pair<V>;
    using H = Ops<V>;
    static constexpr int lanes = 2 * H::lanes;

    static M3_INLINE P splat(float x) { return {H::splat(x), H::splat(x)}; }
    static M3_INLINE P load(const float* p) { return {H::load(p), H::load(p + H::lanes)}; }
    static M3_INLINE void store(float* p, P v) { H::store(p, v.lo), H::store(p + H::lanes, v.hi); }
    static M3_INLINE P min(P a, P b) { return {H::min(a.lo, b.lo), H::min(a.hi, b.hi)}; }
    static M3_INLINE P max(P a, P b) { return {H::max(a.lo, b.lo), H::max(a.hi, b.hi)}; }
    static M3_INLINE P where_ge(P a, P b, P y) { return {H::where_ge(a.lo, b.lo, y.lo), H::where_ge(a.hi, b.hi, y.hi)}; }
    static M3_INLINE P where_lt(P a, P b, P y) { return {H::where_lt(a.lo, b.lo, y.lo), H::where_lt(a.hi, b.hi, y.hi)}; }
    static M3_INLINE P select_lt(P a, P b, P y, P n) {
        return {H::select_lt(a.lo, b.lo, y.lo, n.lo), H::select_lt(a.hi, b.hi, y.hi, n.hi)};
    }
    static M3_INLINE uint32_t bits_le(P a, P b) { return H::bits_le(a.lo, b.lo) | H::bits_le(a.hi, b.hi) << H::lanes; }
    static M3_INLINE float sum(P a) { return H::sum(a.lo + a.hi); }
};

// ---- a Row -------------------------------------------------------------------------------------------------------
using R = Ops<Row>;

M3_INLINE Row splat(float x) { return R::splat(x); }
M3_INLINE Row load(const float* p) { return R::load(p); }
M3_INLINE void store(float* p, Row v) { R::store(p, v); }

M3_INLINE Row lane_numbers() {
    alignas(64) static const float numbers[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return load(numbers);
}

// The first `count` lanes of a row of memory; the others are zero.
M3_INLINE Row load_partial(const float* p, int count) {
    if (count == kLanes) return load(p);
    alignas(64) float lanes[kLanes] = {};
    for (int i = 0; i < count; i++) lanes[i] = p[i];
    return load(lanes);
}

M3_INLINE void store_partial(float* p, Row v, int count) {
    if (count == kLanes) return store(p, v);
    alignas(64) float lanes[kLanes];
    store(lanes, v);
    for (int i = 0; i < count; i++) p[i] = lanes[i];
}

// exp(x) for x in [-6, 0], where every alpha above 1/255 lies: (degree 5 in x / 8)^8, relative error 1.3e-6.
M3_INLINE Row exp_negative(Row x) {
    Row y = R::max(x, splat(-6.f)) * 0.125f;
    Row p = y * 0.00575623884f + 0.0396319251f;
    p = p * y + 0.165899869f;
    p = p * y + 0.499867415f;
    p = p * y + 0.999991544f;
    p = p * y + 0.999999912f;
    p = p * p;
    p = p * p;
    return p * p;
}

// Append first + i to `out` for every set bit i; returns how many. May write up to 16 places beyond the end.
M3_INLINE int append_set_bits(uint32_t bits, int first, int* out) {
#if defined(__AVX512F__)
    const __m512i numbers = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i ids = _mm512_add_epi32(_mm512_set1_epi32(first), numbers);
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi32((__mmask16)bits, ids));
    return __builtin_popcount(bits);
#else
    int n = 0;
    for (; bits; bits &= bits - 1) out[n++] = first + __builtin_ctz(bits);
    return n;
#endif
}

}  // namespace m3
