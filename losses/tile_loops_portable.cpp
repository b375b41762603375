// The loops for every machine; the compile options stand in CMakeLists.txt.
#include <bit>
#include <cmath>

#include "losses/tile_loops.h"

#define TRIPTYCH_TILE_SET tile_portable
#include "losses/tile_loops.inc"
