#include <bit>
#include <cmath>

#include "losses/tile_loops.h"

#define TRIPTYCH_TILE_SET tile_avx2
#include "losses/tile_loops.inc"
