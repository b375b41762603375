// Min-max, threshold, flood.
#include "core/eval/activation_boxes.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace triptych {
namespace {

std::size_t side_of(std::size_t cells) {
  const auto side = static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(cells))));
  if (cells > 0 && side * side == cells) return side;
  throw std::invalid_argument("activation_box: got a map of " + std::to_string(cells) +
                              " cells, expected a square of at least one");
}

}  // namespace

RealBox activation_box(std::span<const double> map_k, double threshold) {
  const std::size_t side = side_of(map_k.size());
  if (!std::all_of(map_k.begin(), map_k.end(), [](double value) { return std::isfinite(value); }))
    throw std::invalid_argument("activation_box: got a map with values that are not finite");
  const auto best = static_cast<std::size_t>(std::max_element(map_k.begin(), map_k.end()) - map_k.begin());
  const double high = map_k[best], low = *std::min_element(map_k.begin(), map_k.end());
  if (high == low) return {0, 0, 1, 1};

  std::size_t left = best % side, right = left, top = best / side, bottom = top;
  std::vector<bool> seen(map_k.size(), false);
  std::vector<std::size_t> open = {best};
  const auto reach = [&](std::size_t cell) {
    if (seen[cell] || (map_k[cell] - low) / (high - low) < threshold) return;
    seen[cell] = true;
    open.push_back(cell);
  };
  seen[best] = true;
  while (!open.empty()) {
    const std::size_t cell = open.back(), x = cell % side, y = cell / side;
    open.pop_back();
    left = std::min(left, x), right = std::max(right, x);
    top = std::min(top, y), bottom = std::max(bottom, y);
    if (x > 0) reach(cell - 1);
    if (x + 1 < side) reach(cell + 1);
    if (y > 0) reach(cell - side);
    if (y + 1 < side) reach(cell + side);
  }
  const auto share = [side](std::size_t cells) { return static_cast<double>(cells) / static_cast<double>(side); };
  return {share(left), share(top), share(right - left + 1), share(bottom - top + 1)};
}

}  // namespace triptych
