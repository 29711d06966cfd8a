// From Gaussians to tile lists: projection, one global depth sort, binning.
#pragma once

#include "context.h"

namespace m3 {

// Fill visible, tile_first, slot_item and bands of a context whose camera and threads are set.
void prepare(Context& context, const Scene& scene);

}  // namespace m3
