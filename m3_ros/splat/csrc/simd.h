// Sixteen floats side by side: one row of pixels of a tile, or sixteen channels.
//
// AVX-512 holds a Row in one register, AVX2 in two, NEON and the baseline (SSE2) in four. GCC would split a 64-byte vector
// through the stack, which costs 3-10x; Pair makes the split explicit, so that every half stays in a register.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define M3_INLINE inline __attribute__((always_inline))

namespace m3 {

template <class V>
struct Pair {
    V lo, hi;

    Pair() = default;
    M3_INLINE Pair(V low, V high) : lo(low), hi(high) {}
    // Half by half: GCC copies a plain struct in pieces of sixteen bytes, and a load of a whole register from what was just
    // stored in pieces waits until the stores have left the pipeline.
    M3_INLINE Pair(const Pair& other) : lo(other.lo), hi(other.hi) {}
    M3_INLINE Pair& operator=(const Pair& other) {
        lo = other.lo, hi = other.hi;
        return *this;
    }
};

typedef float Vec4 __attribute__((vector_size(16)));
typedef float Vec8 __attribute__((vector_size(32)));
typedef float Vec16 __attribute__((vector_size(64)));

// How much the inner loops hold at once: as many sums as fit into the registers, and no more.
//   kBlock       channels that forward blends at once, and kLastBlock more in its last step
//   kWideGroup   blocks of sixteen channels whose gradients are summed at once, for kEntries entries;
//   kLoneEntries entries for which a block that is left over is summed at once
//   kLightSums   independent sums for each of four entries of find_light
//   kLiftGroup   blocks of sixteen channels that lift sums up at once
#if defined(__AVX512F__)
using Row = Vec16;
constexpr int kBlock = 16, kLastBlock = 8, kWideGroup = 4, kEntries = 2, kLoneEntries = 8, kLightSums = 2, kLiftGroup = 6;
#elif defined(__AVX2__)
using Row = Pair<Vec8>;
constexpr int kBlock = 4, kLastBlock = 0, kWideGroup = 1, kEntries = 4, kLoneEntries = 4, kLightSums = 1, kLiftGroup = 3;
#elif defined(__aarch64__)
using Row = Pair<Pair<Vec4>>;
constexpr int kBlock = 4, kLastBlock = 0, kWideGroup = 1, kEntries = 4, kLoneEntries = 4, kLightSums = 1, kLiftGroup = 3;
#else
using Row = Pair<Pair<Vec4>>;
constexpr int kBlock = 2, kLastBlock = 0, kWideGroup = 1, kEntries = 2, kLoneEntries = 2, kLightSums = 1, kLiftGroup = 1;
#endif

constexpr int kLanes = 16;

template <class V>
struct Widest {
    using type = V;
};
template <class V>
struct Widest<Pair<V>> : Widest<V> {};
using Register = Widest<Row>::type;  // the vector that one instruction works on
constexpr int kRegistersPerRow = int(sizeof(Row) / sizeof(Register));
#if defined(__FMA__) || defined(__aarch64__)
constexpr int kInstructionsPerMultiplyAdd = 1;
#else
constexpr int kInstructionsPerMultiplyAdd = 2;
#endif

// ---- four by four ------------------------------------------------------------------------------------------------
// a0 b0 a1 b1, and a2 b2 a3 b3.
M3_INLINE Vec4 zip_low(Vec4 a, Vec4 b) {
#if defined(__SSE2__)
    return (Vec4)_mm_unpacklo_ps((__m128)a, (__m128)b);
#elif defined(__aarch64__)
    return (Vec4)vzip1q_f32((float32x4_t)a, (float32x4_t)b);
#else
    return Vec4{a[0], b[0], a[1], b[1]};
#endif
}

M3_INLINE Vec4 zip_high(Vec4 a, Vec4 b) {
#if defined(__SSE2__)
    return (Vec4)_mm_unpackhi_ps((__m128)a, (__m128)b);
#elif defined(__aarch64__)
    return (Vec4)vzip2q_f32((float32x4_t)a, (float32x4_t)b);
#else
    return Vec4{a[2], b[2], a[3], b[3]};
#endif
}

M3_INLINE void transpose(Vec4 (&m)[4]) {
    const Vec4 a = zip_low(m[0], m[2]), b = zip_low(m[1], m[3]), c = zip_high(m[0], m[2]), d = zip_high(m[1], m[3]);
    m[0] = zip_low(a, b), m[1] = zip_high(a, b), m[2] = zip_low(c, d), m[3] = zip_high(c, d);
}

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
#elif defined(__aarch64__)
        if constexpr (lanes == 4) return (V)vminq_f32((float32x4_t)a, (float32x4_t)b);
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
#elif defined(__aarch64__)
        if constexpr (lanes == 4) return (V)vmaxq_f32((float32x4_t)a, (float32x4_t)b);
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
#elif defined(__aarch64__)
        const uint32x4_t places = {1, 2, 4, 8};
        if constexpr (lanes == 4) return vaddvq_u32(vandq_u32(vcleq_f32((float32x4_t)a, (float32x4_t)b), places));
#endif
        uint32_t bits = 0;
        for (int i = 0; i < lanes; i++) bits |= uint32_t(a[i] <= b[i]) << i;
        return bits;
    }
    // 1 / a for a in [0.001, 1] to the last bit or two: the processor's estimate and a step of Newton's method for each
    // doubling of its bits. A division would cost five times as much.
    static M3_INLINE V reciprocal(V a) {
#if defined(__AVX512F__)
        V r = (V)_mm512_rcp14_ps((__m512)a);
#elif defined(__AVX2__)
        V r = (V)_mm256_rcp_ps((__m256)a);
#elif defined(__SSE2__)
        V r = (V)_mm_rcp_ps((__m128)a);
#elif defined(__aarch64__)
        V r = (V)vrecpeq_f32((float32x4_t)a);
        r = r * (splat(2) - a * r);
#else
        return splat(1) / a;
#endif
        return r * (splat(2) - a * r);
    }
    // Sums of the lanes i, i + 4, i + 8, ...: four numbers.
    static M3_INLINE Vec4 fold(V a) {
#if defined(__AVX512F__)
        if constexpr (lanes == 16) {
            const __m256d high = _mm512_maskz_extractf64x4_pd(0xf, (__m512d)a, 1);
            return Ops<Vec8>::fold((Vec8)_mm512_castps512_ps256((__m512)a) + (Vec8)high);
        }
#endif
#if defined(__AVX2__)
        if constexpr (lanes == 8) return (Vec4)_mm256_castps256_ps128((__m256)a) + (Vec4)_mm256_extractf128_ps((__m256)a, 1);
#endif
        if constexpr (lanes == 4) return a;
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
    static M3_INLINE P reciprocal(P a) { return {H::reciprocal(a.lo), H::reciprocal(a.hi)}; }
    static M3_INLINE Vec4 fold(P a) { return H::fold(a.lo + a.hi); }
};

// ---- a Row -------------------------------------------------------------------------------------------------------
using R = Ops<Row>;

// Keeps an address in one register: GCC would hold the address of every element of a row of sums in one of its own, and
// spill most of them.
template <class T>
M3_INLINE T* in_one_register(T* address) {
    asm("" : "+r"(address));
    return address;
}

M3_INLINE Row splat(float x) { return R::splat(x); }
M3_INLINE Row load(const float* p) { return R::load(p); }
M3_INLINE void store(float* p, Row v) { R::store(p, v); }

// Sums of the lanes of four rows.
M3_INLINE Vec4 sums_of_four(const Row* rows) {
    Vec4 m[4] = {R::fold(rows[0]), R::fold(rows[1]), R::fold(rows[2]), R::fold(rows[3])};
    transpose(m);
    return (m[0] + m[1]) + (m[2] + m[3]);
}

// out[p][c] = in[c][p] of sixteen rows; the rows of `out` lie `stride` rows apart.
inline void transpose_rows(const Row* in, Row* out, int stride) {
    const float* from = reinterpret_cast<const float*>(in);
    float* to = reinterpret_cast<float*>(out);
    for (int p = 0; p < kLanes; p += 4)
        for (int c = 0; c < kLanes; c += 4) {
            Vec4 m[4];
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) m[k] = Ops<Vec4>::load(from + (c + k) * kLanes + p);
            transpose(m);
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) Ops<Vec4>::store(to + (p + k) * kLanes * stride + c, m[k]);
        }
}

M3_INLINE Row lane_numbers() {
    alignas(64) static const float numbers[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return load(numbers);
}

// A half as a float; a finite one, to the last bit.
M3_INLINE float widened(uint16_t half) {  // exponent and fraction in place, then the exponents' difference: 127 - 15
    const uint32_t bits = uint32_t(half & 0x7fff) << 13, sign = uint32_t(half & 0x8000) << 16;
    float size;
    __builtin_memcpy(&size, &bits, 4);
    size *= 0x1p112f;
    return sign ? -size : size;
}

M3_INLINE Row widened_row(const uint16_t* halves) {
#if defined(__AVX512F__)
    return (Row)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves)));
#elif defined(__AVX2__)
    const __m128i* parts = reinterpret_cast<const __m128i*>(halves);
    return {(Vec8)_mm256_cvtph_ps(_mm_loadu_si128(parts)), (Vec8)_mm256_cvtph_ps(_mm_loadu_si128(parts + 1))};
#else
    alignas(64) float lanes[kLanes];
    for (int i = 0; i < kLanes; i++) lanes[i] = widened(halves[i]);
    return load(lanes);
#endif
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

// exp(8 y) for 8 y in [-6, 0], where every alpha above 1/255 lies: (degree 5 in y)^8, relative error 1.3e-6.
M3_INLINE Row exp_of_eight_times(Row y) {
    y = R::max(y, splat(-0.75f));
    Row p = y * 0.00575623884f + 0.0396319251f;
    p = p * y + 0.165899869f;
    p = p * y + 0.499867415f;
    p = p * y + 0.999991544f;
    p = p * y + 0.999999912f;
    p = p * p;
    p = p * p;
    return p * p;
}

// exp(x) for x in [-6, 0].
M3_INLINE Row exp_negative(Row x) { return exp_of_eight_times(x * 0.125f); }

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
