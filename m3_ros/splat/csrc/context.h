// What one view of a set of Gaussians looks like to the kernel: the visible ones, sorted, and the tiles they touch.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace m3 {

constexpr int kTile = 16;
constexpr int kAhead = 8;                      // Gaussians between asking for memory and using it, where they lie anywhere
constexpr float kMinAlpha = 1.f / 255.f;       // fainter contributions are dropped
constexpr float kMaxAlpha = 0.999f;            // keeps 1 / (1 - alpha) finite
constexpr float kMinTransmittance = 1e-4f;     // a row of pixels ends when all of it is darker than this
constexpr double kBlur = 0.3;                  // added to the 2D covariance [px^2]: no Gaussian is thinner than a pixel

// Memory aligned to a cache line that keeps its capacity. Contents do not survive growth.
template <class T>
class Buffer {
public:
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(data_); }

    T* reserve(size_t count) {
        if (count > capacity_) {
            std::free(data_);
            const size_t bytes = (count * sizeof(T) * 5 / 4 + 127) / 64 * 64;
            data_ = static_cast<T*>(std::aligned_alloc(64, bytes));
            capacity_ = data_ ? bytes / sizeof(T) : 0;
            if (!data_) throw std::bad_alloc();
        }
        return data_;
    }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](size_t i) { return data_[i]; }
    const T& operator[](size_t i) const { return data_[i]; }

private:
    T* data_ = nullptr;
    size_t capacity_ = 0;
};

// How far outside the image the Jacobian of the projection is still followed, as x / z and y / z: 0.3 half fields of view;
// and pixels per metre at a depth of one metre, at most, within them.
struct Limits {
    double x_low, x_high, y_low, y_high, stretch;
};

struct Camera {
    double R[9], t[3];  // world to camera, OpenCV axes
    double fx, fy, cx, cy;
    int width, height;
    double near_plane;
    Limits limits;  // derived from the others once, not for every Gaussian
};

// The arrays of the caller, row-major float32.
struct Scene {
    int64_t count;
    const float *means, *quats, *scales, *opacities;
};

// One Gaussian as the image sees it. A cache line of its own: they are read in the order of the tiles.
struct alignas(64) Visible {
    float u, v;       // centre [px]
    float a, b, c;    // inverse 2D covariance [[a, b], [b, c]]
    float rest;       // c - b^2 / a, which of a needle only the covariance knows: the form is a (dx + b / a dy)^2 + rest dy^2
    float b_over_a;
    float opacity;
    float cutoff;     // largest squared Mahalanobis distance that still reaches kMinAlpha
    float z;          // depth [m]
    int32_t id;       // index in the scene
    int16_t x0, x1, y0, y1;  // tiles [x0, x1) x [y0, y1)
};

// Channels in memory: `wide` blocks of sixteen, then `narrow` (0, 4 or 8) more. The last used channel is depth.
struct Layout {
    int used = 0, wide = 0, narrow = 0;
    int stride() const { return 16 * wide + narrow; }
};

// One horizontal strip of tiles and its (Gaussian, tile) hits in the order of the Gaussians: one unit of parallel binning.
struct Band {
    std::vector<int> tile, item, slot, first;
};

// Where the time of a view went [s]; what `m3 bench raster` compares with the limit are the two passes over the tiles.
struct Seconds {
    double prepare = 0;   // project, sort, bin, bring the channels together
    double forward = 0;   // blend
    double backward = 0;  // blend again, and sum what every entry contributes
    double gather = 0;    // add up the sums of each Gaussian, and carry them through its projection
};

// Adds to a stage the time between its making and its end.
class Stopwatch {
public:
    explicit Stopwatch(double& seconds) : seconds_(seconds), begin_(Clock::now()) {}
    ~Stopwatch() { seconds_ += std::chrono::duration<double>(Clock::now() - begin_).count(); }
    Stopwatch(const Stopwatch&) = delete;
    Stopwatch& operator=(const Stopwatch&) = delete;

private:
    using Clock = std::chrono::steady_clock;
    double& seconds_;
    Clock::time_point begin_;
};

struct Context {
    Camera camera;
    int threads = 1;
    int tiles_x = 0, tiles_y = 0;
    std::vector<Visible> visible;   // front to back
    std::vector<int> tile_first;    // first slot of each tile; one more at the end
    std::vector<int> slot_item;     // slot -> index into `visible`, front to back within a tile
    std::vector<Band> bands;
    Layout layout;
    Buffer<float> packed;           // [visible, stride] channels, set by the forward pass
    Seconds seconds;                // of everything done with this view so far
    int64_t entries = 0;            // (Gaussian, row of sixteen pixels) pairs that the forward pass blended

    int tile_count() const { return tiles_x * tiles_y; }
    int slot_count() const { return tile_first.empty() ? 0 : tile_first.back(); }
};

}  // namespace m3
