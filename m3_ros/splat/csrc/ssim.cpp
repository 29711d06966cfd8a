// Structural similarity and its gradient in one go. Strips of rows keep the working set in the cache and the threads even.
#include <algorithm>
#include <cmath>
#include <vector>

#include "raster.h"

namespace m3 {
namespace {

constexpr int kRadius = 5, kTaps = 11, kStrip = 48;
constexpr float kC1 = 1e-4f, kC2 = 9e-4f;

struct Window {
    float tap[kTaps];

    Window() {
        float sum = 0;
        for (int i = 0; i < kTaps; i++) sum += tap[i] = std::exp(-float((i - kRadius) * (i - kRadius)) / 4.5f);
        for (float& t : tap) t /= sum;
    }
};

// Rows [first, last) of a plane, held from row `first` on; every row begins on a cache line.
struct Strip {
    int first = 0, last = 0, width = 0;
    size_t step = 0;
    Buffer<float> values;

    void resize(int begin, int end, int columns) {
        first = begin, last = end, width = columns;
        step = (size_t(columns) + 15) / 16 * 16;
        values.reserve(size_t(end - begin) * step);
    }
    float* row(int y) { return values.data() + size_t(y - first) * step; }
};

// out[x] = sum of taps over in[x + k * step]. The window is symmetric: six multiplications instead of eleven.
inline void blur_line(const Window& window, const float* __restrict in, size_t step, float* __restrict out, int width) {
    const float t0 = window.tap[0], t1 = window.tap[1], t2 = window.tap[2], t3 = window.tap[3], t4 = window.tap[4],
                t5 = window.tap[5];
#pragma omp simd
    for (int x = 0; x < width; x++) {
        const float* p = in + x;
        out[x] = t0 * (p[0] + p[10 * step]) + t1 * (p[step] + p[9 * step]) + t2 * (p[2 * step] + p[8 * step]) +
                 t3 * (p[3 * step] + p[7 * step]) + t4 * (p[4 * step] + p[6 * step]) + t5 * p[5 * step];
    }
}

void blur_row(const Window& window, const float* padded, float* out, int width) { blur_line(window, padded, 1, out, width); }

// out = sum of taps over the rows around y; rows outside the strip are outside the image and count as zero.
void blur_column(const Window& window, Strip& in, int y, float* out) {
    if (y - kRadius >= in.first && y + kRadius < in.last) {
        blur_line(window, in.row(y - kRadius), in.step, out, in.width);
        return;
    }
    std::fill(out, out + in.width, 0.f);
    for (int r = std::max(in.first, y - kRadius); r < std::min(in.last, y + kRadius + 1); r++) {
        const float tap = window.tap[r - y + kRadius], *row = in.row(r);
        for (int x = 0; x < in.width; x++) out[x] += tap * row[x];
    }
}

struct Work {
    Strip moment[5];      // row-blurred a, b, aa, bb, ab
    Strip slope[3];       // row-blurred derivatives of SSIM by mean(a), mean(aa), mean(ab)
    std::vector<float> line[5], padded;
};

void blur_moments(const Window& window, Work& work, const float* a, const float* b, int first, int last, int width) {
    work.padded.assign(width + 2 * kRadius, 0.f);
    float* p = work.padded.data();
    for (Strip& moment : work.moment) moment.resize(first, last, width);
    for (int y = first; y < last; y++) {
        const float *__restrict ra = a + size_t(y) * width, *__restrict rb = b + size_t(y) * width;
        const auto blur = [&](int which, auto value) {
#pragma omp simd
            for (int x = 0; x < width; x++) p[kRadius + x] = value(x);
            blur_row(window, p, work.moment[which].row(y), width);
        };
        blur(0, [&](int x) { return ra[x]; });
        blur(1, [&](int x) { return rb[x]; });
        blur(2, [&](int x) { return ra[x] * ra[x]; });
        blur(3, [&](int x) { return rb[x] * rb[x]; });
        blur(4, [&](int x) { return ra[x] * rb[x]; });
    }
}

// SSIM of one row from its five moments, whose places then hold the derivatives by mean(a), mean(aa) and mean(ab).
double ssim_row(std::vector<float>* line, int width) {
    float *__restrict pa = line[0].data(), *__restrict pb = line[1].data(), *__restrict paa = line[2].data();
    float *__restrict pbb = line[3].data(), *__restrict pab = line[4].data();
    float total = 0;
#pragma omp simd reduction(+ : total)
    for (int x = 0; x < width; x++) {
        const float ma = pa[x], mb = pb[x], va = paa[x] - ma * ma, vb = pbb[x] - mb * mb, cov = pab[x] - ma * mb;
        const float n1 = 2 * ma * mb + kC1, n2 = 2 * cov + kC2, d1 = ma * ma + mb * mb + kC1, d2 = va + vb + kC2;
        const float inverse = 1 / (d1 * d2), value = n1 * n2 * inverse;
        const float d_cov = 2 * n1 * inverse, d_va = -value / d2, d_ma = 2 * mb * n2 * inverse - value * 2 * ma / d1;
        total += value;
        pa[x] = d_ma - 2 * ma * d_va - mb * d_cov;
        paa[x] = d_va;
        pab[x] = d_cov;
    }
    return total;
}

double ssim_strip(const Window& window, Work& work, const float* a, const float* b, float* gradient, float scale, int begin,
                  int end, int height, int width) {
    const int first = std::max(0, begin - kRadius), last = std::min(height, end + kRadius);
    blur_moments(window, work, a, b, std::max(0, first - kRadius), std::min(height, last + kRadius), width);
    for (Strip& slope : work.slope) slope.resize(first, last, width);
    for (auto& line : work.line) line.resize(width);
    double total = 0;
    for (int y = first; y < last; y++) {
        for (int m = 0; m < 5; m++) blur_column(window, work.moment[m], y, work.line[m].data());
        const double value = ssim_row(work.line, width);
        if (y >= begin && y < end) total += value;
        for (int s = 0; gradient && s < 3; s++) {
            const std::vector<float>& line = work.line[s == 0 ? 0 : 2 * s];
            std::copy(line.begin(), line.end(), work.padded.begin() + kRadius);
            blur_row(window, work.padded.data(), work.slope[s].row(y), width);
        }
    }
    for (int y = begin; gradient && y < end; y++) {
        for (int s = 0; s < 3; s++) blur_column(window, work.slope[s], y, work.line[s].data());
        const float *ra = a + size_t(y) * width, *rb = b + size_t(y) * width;
        const float *l0 = work.line[0].data(), *l1 = work.line[1].data(), *l2 = work.line[2].data();
        float* __restrict out = gradient + size_t(y) * width;
#pragma omp simd
        for (int x = 0; x < width; x++) out[x] = scale * (l0[x] + 2 * ra[x] * l1[x] + rb[x] * l2[x]);
    }
    return total;
}

}  // namespace

double ssim(int planes, int height, int width, const float* a, const float* b, float* gradient, int threads) {
    const Window window;
    const int strips = (height + kStrip - 1) / kStrip, tasks = planes * strips;
    const size_t pixels = size_t(height) * width;
    const float scale = 1.f / (float(planes) * float(pixels));
    std::vector<double> totals(tasks);
#pragma omp parallel num_threads(threads)
    {
        static thread_local Work work;
#pragma omp for schedule(dynamic, 1)
        for (int task = 0; task < tasks; task++) {
            const size_t offset = task / strips * pixels;
            const int begin = height * (task % strips) / strips, end = height * (task % strips + 1) / strips;
            totals[task] = ssim_strip(window, work, a + offset, b + offset, gradient ? gradient + offset : nullptr, scale, begin,
                                      end, height, width);
        }
    }
    double total = 0;
    for (double t : totals) total += t;
    return total * scale;
}

}  // namespace m3
