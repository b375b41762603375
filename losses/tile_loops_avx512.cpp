// The loops for AVX-512 (x86-64-v4); the compile options stand in CMakeLists.txt.
#include <bit>
#include <cmath>

#include "losses/tile_loops.h"

#define TRIPTYCH_TILE_SET tile_avx512
#include "losses/tile_loops.inc"
