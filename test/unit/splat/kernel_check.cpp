// The kernel on one scene without Python: what test_neon.py runs in an emulator of another processor.
// kernel_check INPUT OUTPUT: int32 count, channels, width, height, threads, then the arrays below; writes all results.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "lift.h"

extern "C" {
void* m3_prepare(int64_t, const float*, const float*, const float*, const float*, const double*, const double*, int, int, double, int);
void m3_free(void*);
int m3_forward(void*, const float*, int, float*, float*, float*, float*);
int m3_backward(void*, int64_t, const float*, const float*, const float*, const float*, int, float*, float*, const float*, float*,
                float*, float*, float*, float*, double*);
int m3_accumulate(void*, float*, int, float*, float*);
int m3_lift(void*, const m3::LiftImage*, int, float*);
int m3_ssim(int, int, int, const float*, const float*, float*, int, double*);
int m3_read_out(int, int, int, const float*, const float*, float, const float*, int64_t, const float*, float*, int);
}

template <class T>
std::vector<T> read(FILE* file, size_t count) {
    std::vector<T> values(count);
    if (std::fread(values.data(), sizeof(T), count, file) != count) std::perror("input is too short");
    return values;
}

template <class T>
void write(FILE* file, const std::vector<T>& values) {
    std::fwrite(values.data(), sizeof(T), values.size(), file);
}

int main(int, char** arguments) {
    FILE* in = std::fopen(arguments[1], "rb");
    FILE* out = std::fopen(arguments[2], "wb");
    if (!in || !out) return 2;
    const auto shape = read<int32_t>(in, 5);
    const size_t n = shape[0], channels = shape[1], width = shape[2], height = shape[3], pixels = width * height;
    const int threads = shape[4];
    const auto means = read<float>(in, 3 * n), quats = read<float>(in, 4 * n), scales = read<float>(in, 3 * n);
    const auto opacities = read<float>(in, n), features = read<float>(in, n * channels);
    const auto viewmat = read<double>(in, 16), K = read<double>(in, 9);
    auto d_image = read<float>(in, channels * pixels), d_depth = read<float>(in, pixels), d_alpha = read<float>(in, pixels);

    void* view = m3_prepare(n, means.data(), quats.data(), scales.data(), opacities.data(), viewmat.data(), K.data(), width,
                            height, 0.05, threads);
    std::vector<float> image(channels * pixels), depth(pixels), alpha(pixels), median(pixels);
    int failed = m3_forward(view, features.data(), channels, image.data(), depth.data(), alpha.data(), median.data());
    std::vector<float> d_means(3 * n), d_quats(4 * n), d_scales(3 * n), d_opacities(n), d_features(n * channels);
    std::vector<double> d_viewmat(16), value(1);
    failed |= m3_backward(view, n, means.data(), quats.data(), scales.data(), opacities.data(), channels, d_image.data(),
                          d_depth.data(), d_alpha.data(), d_means.data(), d_quats.data(), d_scales.data(), d_opacities.data(),
                          d_features.data(), d_viewmat.data());
    std::vector<float> sums(n * channels), weights(n), gradient(channels * pixels);
    failed |= m3_accumulate(view, d_image.data(), channels, sums.data(), weights.data());
    failed |= m3_ssim(channels, height, width, image.data(), d_image.data(), gradient.data(), threads, value.data());
    std::vector<float> totals(n * 32), scores(pixels);
    const std::vector<uint8_t> valid(7 * 5, 1);
    const m3::LiftImage grid = {d_image.data(), features.data(), valid.data(), nullptr, 7 * 5, 31, 7, 5, 1, 1, 0};
    failed |= m3_lift(view, &grid, 1, totals.data());
    std::vector<float> metric(channels * channels);
    for (size_t i = 0; i < channels; i++) metric[i * channels + i] = 1;
    failed |= m3_read_out(n, channels, 1, features.data(), metric.data(), 0.1f, opacities.data(), pixels, d_image.data(),
                          scores.data(), threads);
    m3_free(view);
    for (const auto* result : {&image, &depth, &alpha, &median, &d_means, &d_quats, &d_scales, &d_opacities, &d_features, &sums,
                               &weights, &gradient, &totals, &scores})
        write(out, *result);
    write(out, d_viewmat);
    write(out, value);
    return failed ? 1 : std::fclose(out);
}
