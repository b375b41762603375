#include <bit>
#include <cmath>

#include "losses/tile_loops.h"

#define TRIPTYCH_TILE_SET tile_portable
#include "losses/tile_loops.inc"
