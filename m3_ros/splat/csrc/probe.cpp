// How fast this processor issues vector arithmetic: the limit that `m3 bench raster` compares the kernel with.
#include <algorithm>
#include <chrono>
#include <vector>

#include "raster.h"
#include "simd.h"

namespace m3 {
namespace {

// Enough independent sums to hide the latency of every multiplier on the market, few enough for sixteen registers.
constexpr int kChains = 12;

// Seconds for `rounds` times kChains multiply-adds on vectors of the processor's own width.
double time_multiply_adds(int rounds) {
    using V = Register;
    V sum[kChains];  // every loop over it is unrolled, or it would live in memory
#pragma GCC unroll 12
    for (int k = 0; k < kChains; k++) sum[k] = Ops<V>::splat(float(k));
    V factor = Ops<V>::splat(0.999f), term = Ops<V>::splat(0.001f);
    const auto begin = std::chrono::steady_clock::now();
    for (int r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int k = 0; k < kChains; k++) sum[k] = sum[k] * factor + term;
        asm volatile("");  // keeps the loop a loop
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    V total = sum[0];
#pragma GCC unroll 12
    for (int k = 1; k < kChains; k++) total = total + sum[k];
    volatile float sink = Ops<V>::fold(total)[0];
    (void)sink;
    return seconds;
}

}  // namespace

double issue_rate(int threads) {
    constexpr int kRounds = 200000, kRepeats = 25;  // 25 slices of about a millisecond: the best one was not interrupted
    std::vector<double> best(threads, 1e9);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; t++)
        for (int i = 0; i < kRepeats; i++) best[t] = std::min(best[t], time_multiply_adds(kRounds));
    double rate = 0;
    for (double seconds : best) rate += double(kRounds) * kChains * kInstructionsPerMultiplyAdd / seconds;
    return rate;
}

}  // namespace m3
