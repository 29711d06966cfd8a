#include "projection.h"

#include <algorithm>
#include <cmath>

namespace m3 {
namespace {

void rotation(const double* q, double* Q) {
    const double w = q[0], x = q[1], y = q[2], z = q[3];
    Q[0] = 1 - 2 * (y * y + z * z), Q[1] = 2 * (x * y - w * z), Q[2] = 2 * (x * z + w * y);
    Q[3] = 2 * (x * y + w * z), Q[4] = 1 - 2 * (x * x + z * z), Q[5] = 2 * (y * z - w * x);
    Q[6] = 2 * (x * z - w * y), Q[7] = 2 * (y * z + w * x), Q[8] = 1 - 2 * (x * x + y * y);
}

void rotation_backward(const Projection& p, const double* dQ, double* dquat) {
    const double w = p.quat[0], x = p.quat[1], y = p.quat[2], z = p.quat[3];
    const double g[4] = {
        2 * (-z * dQ[1] + y * dQ[2] + z * dQ[3] - x * dQ[5] - y * dQ[6] + x * dQ[7]),
        2 * (y * dQ[1] + z * dQ[2] + y * dQ[3] - 2 * x * dQ[4] - w * dQ[5] + z * dQ[6] + w * dQ[7] - 2 * x * dQ[8]),
        2 * (-2 * y * dQ[0] + x * dQ[1] + w * dQ[2] + x * dQ[3] + z * dQ[5] - w * dQ[6] + z * dQ[7] - 2 * y * dQ[8]),
        2 * (-2 * z * dQ[0] - w * dQ[1] + x * dQ[2] + w * dQ[3] - 2 * z * dQ[4] + y * dQ[5] + x * dQ[6] + y * dQ[7]),
    };
    const double along = g[0] * w + g[1] * x + g[2] * y + g[3] * z;
    for (int i = 0; i < 4; i++) dquat[i] = (g[i] - p.quat[i] * along) * p.quat_scale;
}

// Cheap test before the covariance: can a disc around the centre reach the image?
bool may_reach_image(const Camera& c, const Projection& p, double iz, const float* scale) {
    const double size = std::max({std::fabs(scale[0]), std::fabs(scale[1]), std::fabs(scale[2])});
    const double radius = 3.34 * (size * c.limits.stretch * iz + 0.55);  // sqrt(2 ln 255) = 3.33, sqrt(kBlur) = 0.548
    return p.u + radius >= 0 && p.u - radius <= c.width && p.v + radius >= 0 && p.v - radius <= c.height;
}

}  // namespace

Limits make_limits(const Camera& c) {
    const double margin_x = 0.15 * c.width / c.fx, margin_y = 0.15 * c.height / c.fy;
    Limits l = {-c.cx / c.fx - margin_x, (c.width - c.cx) / c.fx + margin_x, -c.cy / c.fy - margin_y,
                (c.height - c.cy) / c.fy + margin_y, 0};
    const double ratio = std::max({-l.x_low, l.x_high, -l.y_low, l.y_high});
    l.stretch = std::max(c.fx, c.fy) * std::sqrt(1 + ratio * ratio);
    return l;
}

bool project(const Camera& c, const float* mean, const float* quat, const float* scale, float opacity, Projection& p) {
    const double* R = c.R;
    p.z = R[6] * mean[0] + R[7] * mean[1] + R[8] * mean[2] + c.t[2];
    if (!(p.z >= c.near_plane) || !(opacity >= kMinAlpha)) return false;
    p.x = R[0] * mean[0] + R[1] * mean[1] + R[2] * mean[2] + c.t[0];
    p.y = R[3] * mean[0] + R[4] * mean[1] + R[5] * mean[2] + c.t[1];
    const double iz = 1 / p.z;
    p.u = c.fx * p.x * iz + c.cx;
    p.v = c.fy * p.y * iz + c.cy;
    if (!may_reach_image(c, p, iz, scale)) return false;

    const double norm = std::sqrt(double(quat[0]) * quat[0] + double(quat[1]) * quat[1] + double(quat[2]) * quat[2] +
                                  double(quat[3]) * quat[3]);
    if (!(norm > 1e-20) || !std::isfinite(norm)) return false;
    p.quat_scale = 1 / norm;
    for (int i = 0; i < 4; i++) p.quat[i] = quat[i] * p.quat_scale;
    rotation(p.quat, p.Q);

    const Limits& l = c.limits;
    p.ratio_x = std::min(l.x_high, std::max(l.x_low, p.x * iz));
    p.ratio_y = std::min(l.y_high, std::max(l.y_low, p.y * iz));
    p.held_x = p.ratio_x != p.x * iz;
    p.held_y = p.ratio_y != p.y * iz;
    p.j00 = c.fx * iz, p.j02 = -c.fx * p.ratio_x * iz;
    p.j11 = c.fy * iz, p.j12 = -c.fy * p.ratio_y * iz;
    for (int k = 0; k < 3; k++) {
        p.pu[k] = p.j00 * R[k] + p.j02 * R[6 + k];
        p.pv[k] = p.j11 * R[3 + k] + p.j12 * R[6 + k];
    }
    p.xx = kBlur, p.xy = 0, p.yy = kBlur;
    for (int k = 0; k < 3; k++) {
        const double U = (p.pu[0] * p.Q[k] + p.pu[1] * p.Q[3 + k] + p.pu[2] * p.Q[6 + k]) * scale[k];
        const double V = (p.pv[0] * p.Q[k] + p.pv[1] * p.Q[3 + k] + p.pv[2] * p.Q[6 + k]) * scale[k];
        p.xx += U * U, p.xy += U * V, p.yy += V * V;
    }
    p.det = p.xx * p.yy - p.xy * p.xy;
    return p.det > 0 && std::isfinite(p.det) && std::isfinite(p.u) && std::isfinite(p.v) && std::isfinite(opacity);
}

bool to_visible(const Camera& c, const Projection& p, float opacity, Visible& out) {
    out.u = float(p.u), out.v = float(p.v), out.z = float(p.z);
    out.a = float(p.yy / p.det), out.b = float(-p.xy / p.det), out.c = float(p.xx / p.det);
    out.rest = float(1 / p.yy);
    out.b_over_a = out.b / out.a;
    out.opacity = opacity;
    out.cutoff = 2 * std::log(255.f * opacity);
    const double rx = std::sqrt(out.cutoff * p.xx), ry = std::sqrt(out.cutoff * p.yy);
    const double columns = (c.width + kTile - 1) / kTile, rows = (c.height + kTile - 1) / kTile;
    const auto inside = [](double x, double high) { return int16_t(std::min(high, std::max(0.0, x))); };
    out.x0 = inside(std::floor((p.u - rx) / kTile), columns);
    out.x1 = inside(std::floor((p.u + rx) / kTile) + 1, columns);
    out.y0 = inside(std::floor((p.v - ry) / kTile), rows);
    out.y1 = inside(std::floor((p.v + ry) / kTile) + 1, rows);
    return out.x0 < out.x1 && out.y0 < out.y1 && std::isfinite(out.a) && std::isfinite(out.b) && std::isfinite(out.c);
}

void project_backward(const Camera& c, const float* mean, const float* scale, const Projection& p,
                      const EllipseGradient& d, GaussianGradient& gaussian, CameraGradient& pose) {
    const double* R = c.R;
    // inverse covariance K to covariance: dCov = -K dK K
    const double a = p.yy / p.det, b = -p.xy / p.det, cc = p.xx / p.det, h = 0.5 * d.b;
    const double m00 = a * d.a + b * h, m01 = a * h + b * d.c, m10 = b * d.a + cc * h, m11 = b * h + cc * d.c;
    const double dxx = -(m00 * a + m01 * b), dxy = -2 * (m00 * b + m01 * cc), dyy = -(m10 * b + m11 * cc);

    double dQ[9], dpu[3] = {}, dpv[3] = {};
    for (int k = 0; k < 3; k++) {
        const double U0 = p.pu[0] * p.Q[k] + p.pu[1] * p.Q[3 + k] + p.pu[2] * p.Q[6 + k];
        const double V0 = p.pv[0] * p.Q[k] + p.pv[1] * p.Q[3 + k] + p.pv[2] * p.Q[6 + k];
        double dU = (2 * dxx * U0 + dxy * V0) * scale[k], dV = (2 * dyy * V0 + dxy * U0) * scale[k];
        gaussian.scale[k] = dU * U0 + dV * V0;
        dU *= scale[k], dV *= scale[k];
        for (int r = 0; r < 3; r++) {
            dQ[3 * r + k] = p.pu[r] * dU + p.pv[r] * dV;
            dpu[r] += dU * p.Q[3 * r + k];
            dpv[r] += dV * p.Q[3 * r + k];
        }
    }
    rotation_backward(p, dQ, gaussian.quat);

    double dj00 = 0, dj02 = 0, dj11 = 0, dj12 = 0;
    for (int k = 0; k < 3; k++) {
        dj00 += dpu[k] * R[k], dj02 += dpu[k] * R[6 + k];
        dj11 += dpv[k] * R[3 + k], dj12 += dpv[k] * R[6 + k];
        pose.R[k] += dpu[k] * p.j00;
        pose.R[3 + k] += dpv[k] * p.j11;
        pose.R[6 + k] += dpu[k] * p.j02 + dpv[k] * p.j12;
    }
    const double iz = 1 / p.z, iz2 = iz * iz;
    double dx = d.u * c.fx * iz, dy = d.v * c.fy * iz;
    double dz = d.z - (d.u * c.fx * p.x + d.v * c.fy * p.y) * iz2 - (dj00 * c.fx + dj11 * c.fy) * iz2;
    dz += dj02 * c.fx * p.ratio_x * iz2 + dj12 * c.fy * p.ratio_y * iz2;  // j = -f * ratio / z
    if (!p.held_x) dx -= dj02 * c.fx * iz2, dz += dj02 * c.fx * p.x * iz2 * iz;
    if (!p.held_y) dy -= dj12 * c.fy * iz2, dz += dj12 * c.fy * p.y * iz2 * iz;

    const double dp[3] = {dx, dy, dz};
    for (int r = 0; r < 3; r++) {
        pose.t[r] += dp[r];
        for (int k = 0; k < 3; k++) pose.R[3 * r + k] += dp[r] * mean[k];
    }
    for (int k = 0; k < 3; k++) gaussian.mean[k] = R[k] * dx + R[3 + k] * dy + R[6 + k] * dz;
}

}  // namespace m3
