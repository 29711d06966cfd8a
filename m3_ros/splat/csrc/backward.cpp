#include <algorithm>

#include "projection.h"
#include "raster.h"
#include "scatter.h"
#include "tile_rows.h"

namespace m3 {
namespace {

constexpr int kChunk = 256;  // Gaussians per unit of work; fixed, so that the camera's sums do not depend on the threads

// light[entry] = sum over channels of feature * dL/dpixel: what one more unit of weight would change. Four entries at once.
void find_light(const Context& context, TileWork& work, int used, const Row* d_planes) {
    const int stride = context.layout.stride();
    const float* features = work.features.data();
    for (int e = 0; e < used; e += 4) {
        const float* f[4];
        for (int k = 0; k < 4; k++) f[k] = features + int64_t(work.entry[std::min(e + k, used - 1)]) * stride;
        Row sum[kLightSums][4];  // every loop over it is unrolled, or it would live in memory
#pragma GCC unroll 2
        for (int s = 0; s < kLightSums; s++)
#pragma GCC unroll 4
            for (int k = 0; k < 4; k++) sum[s][k] = splat(0);
        for (int c = 0; c < stride; c += kLightSums) {
#pragma GCC unroll 2
            for (int s = 0; s < kLightSums; s++) {
                const Row d = d_planes[c + s];
#pragma GCC unroll 4
                for (int k = 0; k < 4; k++) sum[s][k] += d * f[k][c + s];
            }
        }
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) work.light[e + k] = kLightSums == 2 ? sum[0][k] + sum[kLightSums - 1][k] : sum[0][k];
    }
}

// Back to front: dL/dalpha_i = T_i light_i - (light from behind i) / (1 - alpha_i); G_i = alpha_i dL/dalpha_i.
void add_moments(TileWork& work, int used, int lane_count, float x0, float y, Row behind) {
    const Row x = lane_numbers() + (x0 + 0.5f);
    for (int e = used - 1; e >= 0; e--) {
        const int i = work.entry[e];
        const Row alpha = work.alpha[e], lit = work.weight[e] * work.light[e];
        Row G = lit - behind * (alpha * R::reciprocal(splat(1) - alpha));
        behind += lit;
        G = R::where_lt(alpha, splat(kMaxAlpha), G);
        const float dy = y - work.v[i];
        const Row dx = x - work.u[i], Gx = G * dx;
        Row* sum = in_one_register(work.sums.data() + int64_t(i) * lane_count);
        sum[0] += G, sum[1] += Gx, sum[2] += G * dy;
        sum[3] += Gx * dx, sum[4] += Gx * dy, sum[5] += G * (dy * dy);
    }
}

struct Wanted {
    bool geometry, features;
};

void backward_row(const Context& context, TileWork& work, PixelRow& row, int tile, int count, int y, const Planes& d_out,
                  const float* d_alpha, Wanted wanted, SlotSums& sums) {
    const Camera& camera = context.camera;
    const int x0 = tile % context.tiles_x * kTile, columns = std::min(kTile, camera.width - x0);
    const size_t offset = size_t(y) * camera.width + x0, first = context.tile_first[tile];
    const int found = find_entries(work, count, float(x0), y + 0.5f);
    if (!found) return;
    Row left, unused;
    const int used = blend_entries<true, false>(work, found, float(x0), left, unused);
    row.load(context.layout, d_out, size_t(camera.width) * camera.height, offset, columns, y + 1 < camera.height ? camera.width : 0);
    if (wanted.geometry) {
        find_light(context, work, used, row.planes.data());
        const Row d_left = d_alpha ? splat(0) - load_partial(d_alpha + offset, columns) : splat(0);
        add_moments(work, used, sums.lane_count, float(x0), y + 0.5f, left * d_left);
    }
    if (wanted.features) scatter_channels(work, used, context.layout, row, sums.wide.data() + first * sums.wide_count);
}

void backward_tiles(Context& context, const Planes& d_out, const float* d_alpha, Wanted wanted, SlotSums& sums) {
    const Stopwatch watch(context.seconds.backward);
#pragma omp parallel num_threads(context.threads)
    {
        static thread_local TileWork work;
        static thread_local PixelRow row;
#pragma omp for schedule(dynamic, 4)
        for (int tile = 0; tile < context.tile_count(); tile++) {
            const int count = load_tile(work, context, tile);
            if (!count) continue;
            if (wanted.geometry) load_features(work, context, tile, count);
            begin_tile(work, context, sums, tile, count);
            const int y0 = tile / context.tiles_x * kTile;
            for (int y = y0; y < std::min(context.camera.height, y0 + kTile); y++)
                backward_row(context, work, row, tile, count, y, d_out, d_alpha, wanted, sums);
            end_tile(work, context, sums, tile, count);
        }
    }
}

// The channel after the last of what a Gaussian collected: by its depth, or of ones.
double last_channel(const Layout& layout, const Collected& from) {
    const int last = layout.used - 1;
    return last < 16 * layout.wide ? from.wide[last] : from.lanes[kMoments + last - 16 * layout.wide];
}

void add_features(const Layout& layout, const Collected& from, int channels, float* out) {
    const int wide = std::min(channels, 16 * layout.wide);
    for (int c = 0; c < wide; c++) out[c] += from.wide[c];
    for (int c = wide; c < channels; c++) out[c] += float(from.lanes[kMoments + c - wide]);
}

// Moments of G to the ellipse (exponent = -(a dx^2 + c dy^2) / 2 - b dx dy), the ellipse to the Gaussian.
void add_geometry(const Context& context, const Scene& scene, const Visible& g, const double* m, double d_z, const Gradients& out,
                  CameraGradient& pose) {
    const int64_t id = g.id;
    const float *mean = scene.means + 3 * id, *quat = scene.quats + 4 * id, *scale = scene.scales + 3 * id;
    Projection p;
    if (!project(context.camera, mean, quat, scale, g.opacity, p)) return;
    const EllipseGradient d = {g.a * m[1] + g.b * m[2], g.c * m[2] + g.b * m[1], -0.5 * m[3], -m[4], -0.5 * m[5], d_z};
    GaussianGradient gradient;
    project_backward(context.camera, mean, scale, p, d, gradient, pose);
    for (int k = 0; k < 3 && out.means; k++) out.means[3 * id + k] += float(gradient.mean[k]);
    for (int k = 0; k < 4 && out.quats; k++) out.quats[4 * id + k] += float(gradient.quat[k]);
    for (int k = 0; k < 3 && out.scales; k++) out.scales[3 * id + k] += float(gradient.scale[k]);
    if (out.opacities) out.opacities[id] += float(m[0] / g.opacity);
}

void add_pose(const std::vector<CameraGradient>& parts, double* viewmat) {
    for (const CameraGradient& part : parts)
        for (int r = 0; r < 3; r++) {
            for (int k = 0; k < 3; k++) viewmat[4 * r + k] += part.R[3 * r + k];
            viewmat[4 * r + 3] += part.t[r];
        }
}

// Ask for what gathering one Gaussian will read and write.
M3_INLINE void prefetch(const Context& context, const Scene& scene, const SlotSums& sums, int item, int channels, const Gradients& out) {
    prefetch_slots(context, sums, item);
    const int64_t id = context.visible[item].id;
    __builtin_prefetch(scene.means + 3 * id), __builtin_prefetch(scene.quats + 4 * id), __builtin_prefetch(scene.scales + 3 * id);
    if (out.means) __builtin_prefetch(out.means + 3 * id, 1);
    if (out.quats) __builtin_prefetch(out.quats + 4 * id, 1);
    if (out.scales) __builtin_prefetch(out.scales + 3 * id, 1);
    if (out.opacities) __builtin_prefetch(out.opacities + id, 1);
    for (int c = 0; c < channels && out.features; c += 16) __builtin_prefetch(out.features + id * channels + c, 1);
}

void gather(Context& context, const Scene& scene, const SlotSums& sums, int channels, Wanted wanted, const Gradients& out) {
    const Stopwatch watch(context.seconds.gather);
    const int n = int(context.visible.size()), chunks = (n + kChunk - 1) / kChunk;
    std::vector<CameraGradient> poses(chunks);
#pragma omp parallel num_threads(context.threads)
    {
        Collected from(sums);
#pragma omp for schedule(dynamic, 1)
        for (int chunk = 0; chunk < chunks; chunk++)
            for (int i = chunk * kChunk; i < std::min(n, (chunk + 1) * kChunk); i++) {
                const Visible& g = context.visible[i];
                if (i + kAhead < n) prefetch(context, scene, sums, i + kAhead, channels, out);
                gather_slots(context, sums, i, from);
                if (wanted.geometry) {
                    const double d_z = wanted.features ? last_channel(context.layout, from) : 0;
                    add_geometry(context, scene, g, from.lanes.data(), d_z, out, poses[chunk]);
                }
                if (out.features) add_features(context.layout, from, channels, out.features + int64_t(g.id) * channels);
            }
    }
    if (out.viewmat) add_pose(poses, out.viewmat);
}

}  // namespace

void backward(Context& context, const Scene& scene, const Planes& d_out, const float* d_alpha, const Gradients& out) {
    Wanted wanted;
    wanted.geometry = out.means || out.quats || out.scales || out.opacities || out.viewmat;
    wanted.features = out.features || (wanted.geometry && d_out.depth);
    SlotSums sums;
    sums.reserve(context);
    backward_tiles(context, d_out, d_alpha, wanted, sums);
    gather(context, scene, sums, d_out.count, wanted, out);
}

void accumulate(Context& context, const Planes& values, float* total, float* weights) {
    context.layout = make_layout(values.count);
    const size_t pixels = size_t(context.camera.width) * context.camera.height;
    std::vector<float> ones(pixels, 1.f);
    Planes image = values;
    image.depth = ones.data();
    SlotSums sums;
    sums.reserve(context);
    backward_tiles(context, image, nullptr, {false, true}, sums);
    const int n = int(context.visible.size());
#pragma omp parallel num_threads(context.threads)
    {
        Collected from(sums);
#pragma omp for schedule(static)
        for (int i = 0; i < n; i++) {
            const int64_t id = context.visible[i].id;
            if (i + kAhead < n) prefetch_slots(context, sums, i + kAhead);
            gather_slots(context, sums, i, from);
            add_features(context.layout, from, values.count, total + id * values.count);
            weights[id] += float(last_channel(context.layout, from));
        }
    }
}

}  // namespace m3
