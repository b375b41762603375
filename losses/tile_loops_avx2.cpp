// The loops for AVX2 (x86-64-v3); the compile options stand in CMakeLists.txt.
#include <bit>
#include <cmath>

#include "losses/tile_loops.h"

#define TRIPTYCH_TILE_SET tile_avx2
#include "losses/tile_loops.inc"
