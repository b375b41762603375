// Which loops this machine runs.
#include "losses/tile_loops.h"

#include <ATen/Version.h>

#include <string>

namespace triptych {
namespace {

template <class Real>
const TileLoops<Real>& best_loops() {
#if defined(__x86_64__)
  const std::string capability = at::get_cpu_capability();
  if (capability == "AVX512") return tile_avx512::loops<Real>();
  if (capability == "AVX2") return tile_avx2::loops<Real>();
#endif
  return tile_portable::loops<Real>();
}

}  // namespace

template <>
const TileLoops<float>& tile_loops<float>() {
  static const TileLoops<float>& loops = best_loops<float>();
  return loops;
}
template <>
const TileLoops<double>& tile_loops<double>() {
  static const TileLoops<double>& loops = best_loops<double>();
  return loops;
}

}  // namespace triptych
