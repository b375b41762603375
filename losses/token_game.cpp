// Masks are planned on the CPU, then encoded together.
#include "losses/token_game.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>
#include <vector>

namespace triptych {
namespace {

at::Tensor uniform(at::IntArrayRef shape, const at::Generator& draws) {
  at::Tensor numbers = at::empty(shape, at::kDouble);
  return numbers.uniform_(0, 1, draws);
}

/// a b in fp32 at least: autocast would round the form without `out`, and interactions are small differences.
at::Tensor wide_product(const at::Tensor& a, const at::Tensor& b) {
  const auto type = a.scalar_type() == at::kDouble || b.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor product = at::empty({a.size(0), b.size(1)}, a.options().dtype(type));
  return at::mm_out(product, a.to(type), b.to(type));
}

/// Masks, each once, by the order of their first use. A character a cell.
class MaskList {
 public:
  std::int64_t place(const std::string& mask) {
    const auto [at, added] = places_.try_emplace(mask, static_cast<std::int64_t>(masks_.size()));
    if (added) masks_.push_back(mask);
    return at->second;
  }
  std::int64_t size() const { return static_cast<std::int64_t>(masks_.size()); }
  at::Tensor rows(std::int64_t first, std::int64_t count, std::int64_t cells) const {
    at::Tensor keep = at::empty({count, cells}, at::kBool);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto& mask = masks_[static_cast<std::size_t>(first + i)];
      std::copy(mask.begin(), mask.end(), keep.mutable_data_ptr<bool>() + i * cells);
    }
    return keep;
  }

 private:
  std::unordered_map<std::string, std::int64_t> places_;
  std::vector<std::string> masks_;
};

std::string mask_of(const bool* row, std::int64_t cells) {
  return {row, row + cells};
}

/// One value in the sum of an estimate.
struct Use {
  std::int64_t mask = 0, region = 0, coalition = 0;
  double weight = 0;
};

/// `members` of the cells, or all, each equally likely.
std::vector<std::size_t> drawn_members(std::vector<std::size_t> cells, std::int64_t members,
                                       const at::Generator& draws) {
  const auto count = static_cast<std::size_t>(members);
  if (members == 0 || cells.size() <= count) return cells;
  const at::Tensor numbers = uniform({members}, draws);
  for (std::size_t i = 0; i < count; ++i) {
    const auto left = static_cast<double>(cells.size() - i);
    std::swap(cells[i], cells[i + static_cast<std::size_t>(numbers.const_data_ptr<double>()[i] * left)]);
  }
  cells.resize(count);
  return cells;
}

std::vector<Use> planned(const at::Tensor& keep_Kc, const at::Tensor& region_rc, std::int64_t members,
                         const RegionDraws& draws_of, MaskList& masks) {
  const std::int64_t K = keep_Kc.size(0), cells = keep_Kc.size(1);
  std::vector<Use> uses;
  for (std::int64_t r = 0; r < region_rc.size(0); ++r) {
    const bool* region = region_rc.const_data_ptr<bool>() + r * cells;
    std::vector<std::size_t> inside;
    for (std::int64_t c = 0; c < cells; ++c)
      if (region[c]) inside.push_back(static_cast<std::size_t>(c));
    TORCH_CHECK(!inside.empty(), "region ", r, " has no cells");
    const auto size = static_cast<double>(inside.size());
    const at::Generator draws = draws_of(r);
    for (std::int64_t k = 0; k < K; ++k) {
      std::string without = mask_of(keep_Kc.const_data_ptr<bool>() + k * cells, cells), whole;
      for (const auto c : inside) without[c] = 0;
      whole = without;
      for (const auto c : inside) whole[c] = 1;
      uses.push_back({masks.place(whole), r, k, 1});
      if (inside.size() > 1) uses.push_back({masks.place(without), r, k, size - 1});
      const auto chosen = drawn_members(inside, members, draws);
      for (const auto c : chosen) {
        std::string one = without;
        one[c] = 1;
        uses.push_back({masks.place(one), r, k, -size / static_cast<double>(chosen.size())});
      }
    }
  }
  return uses;
}

}  // namespace

Coalitions draw_coalitions(CoalitionSampler sampler, std::int64_t K, std::int64_t players, const at::Generator& draws) {
  const bool pairs = sampler == CoalitionSampler::kAntithetic;
  TORCH_CHECK(K >= 1 && (!pairs || K % 2 == 0), "antithetic coalitions come in pairs, others at least one, got ", K);
  const std::int64_t drawn = pairs ? K / 2 : K;
  at::Tensor share = uniform({drawn}, draws);
  if (sampler != CoalitionSampler::kNaive)
    share = (share + at::arange(drawn, share.options())) / static_cast<double>(drawn);
  const at::Tensor keep = uniform({drawn, players}, draws) < share.unsqueeze(1);
  if (!pairs) return {keep, share};
  return {at::cat({keep, keep.logical_not()}), at::cat({share, 1 - share})};
}

at::Tensor expected_embeddings(const MaskedEmbedding& text, std::int64_t words, const at::Tensor& share_K,
                               std::int64_t most_enumerated, std::int64_t samples, const at::Generator& draws) {
  const std::int64_t K = share_K.size(0);
  if (words < 62 && (std::int64_t{1} << words) <= most_enumerated) {
    const at::Tensor number = at::arange(std::int64_t{1} << words, at::kLong).unsqueeze(1);
    const at::Tensor keep = number.bitwise_right_shift(at::arange(words, at::kLong)).bitwise_and(1).to(at::kBool);
    const at::Tensor kept = keep.sum(1).to(at::kDouble).unsqueeze(0), share_K1 = share_K.unsqueeze(1);
    const at::Tensor weight = share_K1.pow(kept) * (1 - share_K1).pow(static_cast<double>(words) - kept);
    const at::Tensor embedding = text(keep);
    return wide_product(weight.to(embedding.options().dtype(at::promote_types(embedding.scalar_type(), at::kFloat))),
                        embedding);
  }
  const at::Tensor keep = uniform({K, samples, words}, draws) < share_K.view({K, 1, 1});
  const at::Tensor embedding = text(keep.flatten(0, 1));
  return embedding.view({K, samples, -1}).mean(1);
}

RegionSamples sample_regions(const MaskedEmbedding& image, const at::Tensor& keep_Kc, const at::Tensor& text_Kd,
                             const at::Tensor& region_rc, std::int64_t members, std::int64_t rows,
                             const RegionDraws& draws_of) {
  TORCH_CHECK(keep_Kc.dim() == 2 && keep_Kc.scalar_type() == at::kBool && keep_Kc.device().is_cpu() &&
                  region_rc.scalar_type() == at::kBool && region_rc.dim() == 2 &&
                  region_rc.size(1) == keep_Kc.size(1) && text_Kd.size(0) == keep_Kc.size(0) && rows >= 1,
              "coalitions ", keep_Kc.sizes(), ", regions ", region_rc.sizes(), ", texts ", text_Kd.sizes());
  const std::int64_t K = keep_Kc.size(0), cells = keep_Kc.size(1), regions = region_rc.size(0);
  MaskList masks;
  const auto uses = planned(keep_Kc.contiguous(), region_rc.cpu().contiguous(), members, draws_of, masks);
  std::vector<at::Tensor> parts;
  for (std::int64_t first = 0; first < masks.size(); first += rows) {
    const at::Tensor embedding = image(masks.rows(first, std::min(rows, masks.size() - first), cells));
    parts.push_back(wide_product(embedding, text_Kd.to(embedding.device()).t()).to(at::kCPU, at::kDouble));
  }
  at::Tensor each = at::zeros({regions, K}, at::kDouble);
  if (parts.empty()) return {each, 0};
  const at::Tensor value_mK = at::cat(parts).contiguous();
  for (const auto& use : uses) {
    each.mutable_data_ptr<double>()[use.region * K + use.coalition] +=
        use.weight * value_mK.const_data_ptr<double>()[use.mask * K + use.coalition];
  }
  return {each, masks.size()};
}

at::Tensor half_spread(const at::Tensor& each_rK, CoalitionSampler sampler) {
  const bool pairs = sampler == CoalitionSampler::kAntithetic;  // k and k + K / 2, as draw_coalitions() lays them
  const at::Tensor each_ru = pairs ? each_rK.unflatten(1, {2, each_rK.size(1) / 2}).mean(1) : each_rK;
  const std::int64_t units = each_ru.size(1), half = units / 2;
  if (half == 0) return at::zeros({each_rK.size(0)}, each_rK.options());
  const auto mean_from = [&](std::int64_t first) { return each_ru.slice(1, first, 2 * half, 2).mean(1); };
  const double scale = std::sqrt(static_cast<double>(half) / static_cast<double>(units));
  return (mean_from(0) - mean_from(1)).abs() * scale;
}

}  // namespace triptych
