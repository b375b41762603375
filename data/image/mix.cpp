// Weights, boxes, partners.
#include "data/image/mix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace triptych {
namespace {

// Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000); below 1 by their remark in section 6.
double draw_gamma(double shape, RandomStream& draws) {
  if (shape < 1) return draw_gamma(shape + 1, draws) * std::pow(1 - draws.uniform(), 1 / shape);
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = draws.normal(), v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    if (std::log(1 - draws.uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

Box draw_cut(double share, Size view, RandomStream& draws) {
  const int half_width = static_cast<int>(view.width * std::sqrt(share)) / 2;
  const int half_height = static_cast<int>(view.height * std::sqrt(share)) / 2;
  const int y = static_cast<int>(draws.below(view.height)), x = static_cast<int>(draws.below(view.width));
  const int left = std::max(x - half_width, 0), right = std::min(x + half_width, view.width);
  const int top = std::max(y - half_height, 0), bottom = std::min(y + half_height, view.height);
  return {left, top, right - left, bottom - top};
}

void blend(const std::uint8_t* other, double weight, std::span<std::uint8_t> row) {
  const auto own = static_cast<float>(weight), rest = static_cast<float>(1 - weight);
  for (std::size_t i = 0; i < row.size(); ++i)
    row[i] = static_cast<std::uint8_t>(own * row[i] + rest * other[i] + 0.5f);
}

void paste(const std::uint8_t* other, Box box, Size view, std::span<std::uint8_t> row) {
  const std::size_t step = 3 * static_cast<std::size_t>(view.width),
                    picture = step * static_cast<std::size_t>(view.height);
  const std::size_t bytes = 3 * static_cast<std::size_t>(box.width);
  for (std::size_t first = 0; first < row.size(); first += picture) {
    for (int y = box.y; y < box.y + box.height; ++y) {
      const std::size_t at = first + static_cast<std::size_t>(y) * step + 3 * static_cast<std::size_t>(box.x);
      std::memcpy(&row[at], other + at, bytes);
    }
  }
}

}  // namespace

double draw_beta(double alpha, RandomStream& draws) {
  const double a = draw_gamma(alpha, draws), b = draw_gamma(alpha, draws);
  return a + b > 0 ? a / (a + b) : 0.5;  // both vanish for the tiniest alpha only
}

MixPlan draw_mix(const MixConfig& config, std::int64_t rows, Size view, RandomStream& draws) {
  if (rows < 2) throw std::invalid_argument("draw_mix: got " + std::to_string(rows) + " rows, expected at least 2");
  MixPlan plan;
  const bool mixed = draws.uniform() < config.probability;
  const double choice = draws.uniform();
  const KeyedPermutation order(draws.bits(), rows);
  plan.partner.resize(static_cast<std::size_t>(rows));
  for (std::int64_t i = 0; i < rows; ++i) plan.partner[static_cast<std::size_t>(order(i))] = order((i + 1) % rows);
  if (!mixed || !config.enabled()) return plan;
  const bool cut = config.cutmix_alpha > 0 && (config.mixup_alpha == 0 || choice < config.cutmix_share);
  plan.weight = draw_beta(cut ? config.cutmix_alpha : config.mixup_alpha, draws);
  if (!cut) return plan;
  plan.box = draw_cut(1 - plan.weight, view, draws);
  const double area = static_cast<double>(view.width) * view.height;
  plan.weight = 1 - static_cast<double>(plan.box.width) * plan.box.height / area;
  return plan;
}

void mix_rows(const MixPlan& plan, Size view, std::span<std::uint8_t> images) {
  if (plan.weight == 1) return;
  const std::size_t rows = plan.partner.size(), bytes = images.size() / rows;
  const std::vector<std::uint8_t> before(images.begin(), images.end());
  for (std::size_t row = 0; row < rows; ++row) {
    const auto own = images.subspan(row * bytes, bytes);
    const std::uint8_t* const other = before.data() + static_cast<std::size_t>(plan.partner[row]) * bytes;
    if (plan.box.width > 0) {
      paste(other, plan.box, view, own);
    } else {
      blend(other, plan.weight, own);
    }
  }
}

}  // namespace triptych
