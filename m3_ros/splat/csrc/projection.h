// One Gaussian through one pinhole camera, and back: EWA splatting with gsplat's conventions.
#pragma once

#include "context.h"

namespace m3 {

// Everything between a Gaussian and its ellipse. Double: thin and near Gaussians cancel badly in float.
struct Projection {
    double x, y, z;              // centre in the camera frame [m]
    double u, v;                 // centre [px]
    double ratio_x, ratio_y;     // x / z and y / z, held inside 1.3 fields of view
    bool held_x, held_y;         // whether they were held
    double j00, j02, j11, j12;   // Jacobian of the projection
    double quat[4], quat_scale;  // unit quaternion wxyz and the factor that made it one
    double Q[9];                 // its rotation
    double pu[3], pv[3];         // rows of J * R
    double xx, xy, yy, det;      // 2D covariance
};

// What the image says about one ellipse.
struct EllipseGradient {
    double u, v, a, b, c, z;
};

struct GaussianGradient {
    double mean[3], quat[4], scale[3];
};

struct CameraGradient {
    double R[9] = {}, t[3] = {};
};

Limits make_limits(const Camera& camera);

// False where the Gaussian cannot be seen or is not finite.
bool project(const Camera& camera, const float* mean, const float* quat, const float* scale, float opacity, Projection& p);

// Fill what rendering needs; false where no tile is touched.
bool to_visible(const Camera& camera, const Projection& p, float opacity, Visible& out);

void project_backward(const Camera& camera, const float* mean, const float* scale, const Projection& p,
                      const EllipseGradient& d, GaussianGradient& gaussian, CameraGradient& pose);

}  // namespace m3
