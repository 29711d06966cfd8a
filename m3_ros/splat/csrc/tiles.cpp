#include "tiles.h"

#include <algorithm>
#include <cstring>

#include "projection.h"

namespace m3 {
namespace {

std::vector<Visible> project_all(const Context& context, const Scene& scene) {
    const int parts = context.threads;
    std::vector<std::vector<Visible>> found(parts);
#pragma omp parallel for num_threads(context.threads) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        const int64_t begin = scene.count * part / parts, end = scene.count * (part + 1) / parts;
        Projection p;
        Visible seen;
        for (int64_t i = begin; i < end; i++) {
            const float opacity = scene.opacities[i];
            if (!project(context.camera, scene.means + 3 * i, scene.quats + 4 * i, scene.scales + 3 * i, opacity, p)) continue;
            if (!to_visible(context.camera, p, opacity, seen)) continue;
            seen.id = int32_t(i);
            found[part].push_back(seen);
        }
    }
    std::vector<Visible> all;
    for (const auto& part : found) all.insert(all.end(), part.begin(), part.end());
    return all;
}

// Front to back; equal depths keep their order. Positive floats sort like their bits: three radix passes of eleven.
void sort_by_depth(std::vector<Visible>& visible) {
    const size_t n = visible.size();
    std::vector<uint64_t> keys(n), other(n);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        std::memcpy(&bits, &visible[i].z, sizeof(bits));
        keys[i] = uint64_t(bits) << 32 | i;
    }
    for (int shift = 32; shift < 64; shift += 11) {
        int count[2048] = {};
        for (uint64_t key : keys) count[key >> shift & 2047]++;
        int first = 0;
        for (int& c : count) first += c, c = first - c;
        for (uint64_t key : keys) other[count[key >> shift & 2047]++] = key;
        keys.swap(other);
    }
    std::vector<Visible> sorted(n);
    for (size_t i = 0; i < n; i++) sorted[i] = visible[uint32_t(keys[i])];
    visible.swap(sorted);
}

// Does the ellipse reach a pixel centre's box of this tile? Minimum of the quadratic form over the four edges.
bool reaches_tile(const Visible& g, int tile_x, int tile_y) {
    const float left = tile_x * kTile + 0.5f - g.u, right = left + kTile - 1;
    const float top = tile_y * kTile + 0.5f - g.v, bottom = top + kTile - 1;
    if (left <= 0 && right >= 0 && top <= 0 && bottom >= 0) return true;
    const auto form = [&](float x, float y) { return g.a * x * x + 2 * g.b * x * y + g.c * y * y; };
    float best = form(std::min(right, std::max(left, -g.b * top / g.a)), top);
    best = std::min(best, form(std::min(right, std::max(left, -g.b * bottom / g.a)), bottom));
    best = std::min(best, form(left, std::min(bottom, std::max(top, -g.b * left / g.c))));
    best = std::min(best, form(right, std::min(bottom, std::max(top, -g.b * right / g.c))));
    return best <= g.cutoff * 1.0001f + 1e-4f;  // rounding must not lose an edge pixel
}

void collect_hits(Context& context, Band& band, int row_begin, int row_end, std::vector<int>& count) {
    const int n = int(context.visible.size());
    band.tile.clear(), band.item.clear();
    band.first.resize(n + 1);
    for (int i = 0; i < n; i++) {
        band.first[i] = int(band.item.size());
        const Visible& g = context.visible[i];
        const bool few = (g.x1 - g.x0) * (g.y1 - g.y0) <= 2;
        for (int y = std::max<int>(g.y0, row_begin); y < std::min<int>(g.y1, row_end); y++)
            for (int x = g.x0; x < g.x1; x++) {
                if (!few && !reaches_tile(g, x, y)) continue;
                const int tile = y * context.tiles_x + x;
                count[tile]++;
                band.tile.push_back(tile), band.item.push_back(i);
            }
    }
    band.first[n] = int(band.item.size());
}

// Each band owns whole rows of tiles, so bands never meet in a tile and lists come out front to back.
void bin(Context& context) {
    const int tiles = context.tile_count(), bands = context.threads;
    std::vector<int> count(tiles, 0);
    context.bands.resize(bands);
#pragma omp parallel for num_threads(context.threads) schedule(static, 1)
    for (int b = 0; b < bands; b++)
        collect_hits(context, context.bands[b], context.tiles_y * b / bands, context.tiles_y * (b + 1) / bands, count);

    context.tile_first.resize(tiles + 1);
    context.tile_first[0] = 0;
    for (int t = 0; t < tiles; t++) context.tile_first[t + 1] = context.tile_first[t] + count[t];
    context.slot_item.resize(context.slot_count());
    std::vector<int> next(context.tile_first.begin(), context.tile_first.end() - 1);
#pragma omp parallel for num_threads(context.threads) schedule(static, 1)
    for (int b = 0; b < bands; b++) {
        Band& band = context.bands[b];
        band.slot.resize(band.item.size());
        for (size_t h = 0; h < band.item.size(); h++) {
            band.slot[h] = next[band.tile[h]]++;
            context.slot_item[band.slot[h]] = band.item[h];
        }
    }
}

}  // namespace

void prepare(Context& context, const Scene& scene) {
    const Stopwatch watch(context.seconds.prepare);
    context.tiles_x = (context.camera.width + kTile - 1) / kTile;
    context.tiles_y = (context.camera.height + kTile - 1) / kTile;
    context.visible = project_all(context, scene);
    sort_by_depth(context.visible);
    bin(context);
}

}  // namespace m3
