// The C interface that Python calls through ctypes. Nothing throws across it: 0 is success, -1 is out of memory.
#include <algorithm>
#include <new>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "attention.h"
#include "lift.h"
#include "projection.h"
#include "raster.h"
#include "simd.h"
#include "tiles.h"

using namespace m3;

namespace {

template <class F>
int guarded(F&& call) {
    try {
        call();
        return 0;
    } catch (const std::bad_alloc&) {
        return -1;
    }
}

Camera make_camera(const double* viewmat, const double* K, int width, int height, double near_plane) {
    Camera camera;
    for (int r = 0; r < 3; r++) {
        for (int k = 0; k < 3; k++) camera.R[3 * r + k] = viewmat[4 * r + k];
        camera.t[r] = viewmat[4 * r + 3];
    }
    camera.fx = K[0], camera.fy = K[4], camera.cx = K[2], camera.cy = K[5];
    camera.width = width, camera.height = height, camera.near_plane = near_plane;
    camera.limits = make_limits(camera);
    return camera;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

// Changes with every change of this interface; kernel.py asks for it.
int m3_abi() { return 9; }

// Keep big buffers in the heap instead of mapping and faulting them anew on every call (for the whole process).
void m3_keep_memory() {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 0x7fffffff);
#endif
}

// Project, sort and bin; null when out of memory.
void* m3_prepare(int64_t count, const float* means, const float* quats, const float* scales, const float* opacities,
                 const double* viewmat, const double* K, int width, int height, double near_plane, int threads) {
    Context* context = nullptr;
    const int failed = guarded([&] {
        context = new Context();
        context->camera = make_camera(viewmat, K, width, height, near_plane);
        context->threads = std::max(1, threads);
        prepare(*context, {count, means, quats, scales, opacities});
    });
    if (!failed) return context;
    delete context;
    return nullptr;
}

void m3_free(void* context) { delete static_cast<Context*>(context); }

int64_t m3_visible_count(const void* context) { return int64_t(static_cast<const Context*>(context)->visible.size()); }

// Entries that the last forward pass blended: the work that an issue limit is computed from.
int64_t m3_entry_count(const void* context) { return static_cast<const Context*>(context)->entries; }

// Seconds spent so far in prepare, forward, backward, gather; see Seconds.
void m3_stage_seconds(const void* context, double* out) {
    const Seconds& s = static_cast<const Context*>(context)->seconds;
    out[0] = s.prepare, out[1] = s.forward, out[2] = s.backward, out[3] = s.gather;
}

// Vector registers that hold one row of sixteen pixels, and instructions that one multiply-add takes.
int m3_registers_per_row() { return kRegistersPerRow; }
int m3_instructions_per_multiply_add() { return kInstructionsPerMultiplyAdd; }

double m3_issue_rate(int threads) { return issue_rate(std::max(1, threads)); }

int m3_forward(void* context, const float* features, int channels, float* out, float* depth, float* alpha, float* median) {
    return guarded([&] { forward(*static_cast<Context*>(context), features, {out, depth, channels}, alpha, median); });
}

int m3_backward(void* context, int64_t count, const float* means, const float* quats, const float* scales, const float* opacities,
                int channels, float* d_out, float* d_depth, const float* d_alpha, float* d_means, float* d_quats, float* d_scales,
                float* d_opacities, float* d_features, double* d_viewmat) {
    return guarded([&] {
        backward(*static_cast<Context*>(context), {count, means, quats, scales, opacities}, {d_out, d_depth, channels}, d_alpha,
                 {d_means, d_quats, d_scales, d_opacities, d_features, d_viewmat});
    });
}

int m3_accumulate(void* context, float* values, int channels, float* sums, float* weights) {
    return guarded([&] { accumulate(*static_cast<Context*>(context), {values, nullptr, channels}, sums, weights); });
}

int m3_lift(void* context, const LiftImage* images, int count, float* totals) {
    return guarded([&] { lift(*static_cast<Context*>(context), images, count, totals); });
}

int m3_ssim(int planes, int height, int width, const float* a, const float* b, float* gradient, int threads, double* value) {
    return guarded([&] { *value = ssim(planes, height, width, a, b, gradient, threads); });
}

// Queries [count][dim], out [texts][count]; the others as in attention.h.
int m3_read_out(int components, int dim, int texts, const float* keys, const float* metric, float tau, const float* values,
                int64_t count, const float* queries, float* out, int threads) {
    const Attention attention = {components, dim, texts, keys, metric, tau, values};
    return guarded([&] { read_out(attention, count, queries, out, std::max(1, threads)); });
}

}  // extern "C"
#pragma GCC visibility pop
