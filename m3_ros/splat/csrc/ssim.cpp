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

// Rows [first, last) of a plane, held from row `first` on.
struct Strip {
    int first = 0, last = 0, width = 0;
    std::vector<float> values;

    void resize(int begin, int end, int columns) {
        first = begin, last = end, width = columns;
        values.resize(size_t(end - begin) * columns);
    }
    float* row(int y) { return values.data() + size_t(y - first) * width; }
};

void blur_row(const Window& window, const float* padded, float* out, int width) {
    for (int x = 0; x < width; x++) {
        float sum = 0;
#pragma GCC unroll 11
        for (int k = 0; k < kTaps; k++) sum += window.tap[k] * padded[x + k];
        out[x] = sum;
    }
}

// out = sum of taps over the rows around y; rows outside the strip are outside the image and count as zero.
void blur_column(const Window& window, Strip& in, int y, float* out) {
    if (y - kRadius >= in.first && y + kRadius < in.last) {
        const float* top = in.row(y - kRadius);
        const int width = in.width;
        for (int x = 0; x < width; x++) {
            float sum = 0;
#pragma GCC unroll 11
            for (int k = 0; k < kTaps; k++) sum += window.tap[k] * top[size_t(k) * width + x];
            out[x] = sum;
        }
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
        const float *ra = a + size_t(y) * width, *rb = b + size_t(y) * width;
        const auto blur = [&](int which, auto value) {
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
    float *pa = line[0].data(), *pb = line[1].data(), *paa = line[2].data(), *pbb = line[3].data(), *pab = line[4].data();
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
        float* out = gradient + size_t(y) * width;
        for (int x = 0; x < width; x++)
            out[x] = scale * (work.line[0][x] + 2 * ra[x] * work.line[1][x] + rb[x] * work.line[2][x]);
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
