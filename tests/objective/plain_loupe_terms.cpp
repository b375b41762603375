// The loss of what was seen and played, and a step of ranks beside it.
#include <gtest/gtest.h>

#include "tests/objective/plain_loupe.h"

namespace triptych {
namespace {

at::Tensor zero() {
  return at::zeros({}, at::kDouble);
}

}  // namespace

// ---- Terms ----

/// Of all ranks' items of the k-th micro-batches, or each rank's own mean; then over micro-batches.
template <class OfPart>
at::Tensor PlainLoupe::counted(const OfPart& of_part) const {
  const std::int64_t cuts = kLoupeLocal / micro_;
  at::Tensor total = zero();
  for (std::int64_t k = 0; k < cuts; ++k) {
    at::Tensor sum = zero();
    std::int64_t count = 0;
    for (std::int64_t rank = 0; rank < ranks_; ++rank) {
      const auto [part_sum, part_count] = of_part(parts_[rank * cuts + k]);
      const bool own = config_.mean == "rank" && part_count > 0;
      if (own) total = total + part_sum / (part_count * ranks_ * cuts);
      sum = sum + part_sum;
      count += part_count;
    }
    if (config_.mean == "global" && count > 0) total = total + sum / (count * cuts);
  }
  return total;
}

at::Tensor PlainLoupe::contrast() const {
  const at::Tensor logits = image_.mm(text_.t()) / model_.temperature();
  return -(at::log_softmax(logits, 1).diagonal() + at::log_softmax(logits, 0).diagonal()).mean();
}

at::Tensor PlainLoupe::tsa() const {
  return counted([this](const PlainPart& part) {
    at::Tensor sum = zero();
    for (const auto& [row, value] : part.region_value) {
      const at::Tensor range = value.max() - value.min(), s = rows_[row].logit_m.sigmoid();
      const at::Tensor label = range.item<double>() > 0 ? (value - value.min()) / range : at::full_like(value, 0.5);
      sum = sum - (label * s.log() + (1 - label) * (1 - s).log()).sum();
    }
    return std::pair{sum, static_cast<std::int64_t>(part.region_value.size()) * config_.regions.count};
  });
}

at::Tensor PlainLoupe::fsa() const {
  return counted([this](const PlainPart& part) {
    at::Tensor sum = zero();
    for (const auto& [row, value] : part.pair_value) {
      const at::Tensor positive = value.clamp_min(0), range = positive.max() - positive.min();
      at::Tensor label = at::zeros_like(positive);
      if (config_.phrases.label == "sigmoid")
        label = value.sigmoid();
      else if (range.item<double>() > 0)
        label = (positive - positive.min()) / range;
      const at::Tensor& a = rows_[row].alike_mp;
      at::Tensor log_share = at::log_softmax(a, 1);
      if (config_.phrases.directions == "both") log_share = (log_share + at::log_softmax(a, 0)) / 2;
      sum = sum - (label * log_share).mean();
    }
    return std::pair{sum, static_cast<std::int64_t>(part.pair_value.size())};
  });
}

at::Tensor PlainLoupe::unsil_tokens() const {
  return counted([this](const PlainPart& part) {
    at::Tensor sum = zero();
    for (const auto& [row, region] : part.regions)
      sum = sum + surprise(model_.token_network()->forward(region_inputs(row, region)),
                           (part.region_value.at(row)[region] - token_scale_.first) / token_scale_.second);
    return std::pair{sum, static_cast<std::int64_t>(part.regions.size())};
  });
}

at::Tensor PlainLoupe::unsil_phrases() const {
  return counted([this](const PlainPart& part) {
    at::Tensor sum = zero();
    for (const auto& [row, region, phrase] : part.pairs)
      sum = sum + surprise(model_.phrase_network()->forward(pair_inputs(row, region, phrase)),
                           (part.pair_value.at(row)[region][phrase] - phrase_scale_.first) / phrase_scale_.second);
    return std::pair{sum, static_cast<std::int64_t>(part.pairs.size())};
  });
}

std::map<std::string, at::Tensor> PlainLoupe::terms() const {
  std::map<std::string, at::Tensor> all = {{"contrast", contrast()}};
  if (config_.tokens.weight > 0) all["tsa"] = tsa();
  if (config_.phrases.weight > 0) all["fsa"] = fsa();
  if (model_.token_network() != nullptr) all["unsil_tokens"] = unsil_tokens();
  if (model_.phrase_network() != nullptr) all["unsil_phrases"] = unsil_phrases();
  return all;
}

double PlainLoupe::weight_of(const std::string& term) const {
  if (term == "contrast") return 1;
  if (term == "tsa") return config_.tokens.weight;
  return term == "fsa" ? config_.phrases.weight : config_.unsil.weight;
}

at::Tensor PlainLoupe::surprise(const UnsilOutput& out, const at::Tensor& wanted) const {
  const at::Tensor off = out.value_t[0] - wanted;
  return off * off / (config_.unsil.beta1 * out.sigma_t[0]) + config_.unsil.beta2 * out.sigma_t[0];
}

LoupeTerms PlainLoupe::notes() const {
  LoupeTerms all;
  if (config_.tokens.weight == 0) return all;
  double spread = 0, off = 0, size = 0;
  for (const auto& part : parts_) {
    spread += part.spread;
    off += part.off;
    size += part.size;
  }
  all["token_instability"] = size > 0 ? spread / size : 0;
  if (model_.token_network() != nullptr && trusted()) all["unsil_error"] = size > 0 ? off / size : 0;
  return all;
}

at::Tensor PlainLoupe::taught(bool pairs) const {
  std::vector<double> values;
  for (const auto& part : parts_) {
    for (const auto& [row, region] : part.regions)
      if (!pairs) values.push_back(part.region_value.at(row)[region].item<double>());
    for (const auto& [row, region, phrase] : part.pairs)
      if (pairs) values.push_back(part.pair_value.at(row)[region][phrase].item<double>());
  }
  double sums[3] = {static_cast<double>(values.size()), 0, 0};
  for (const double x : values) {
    sums[1] += x;
    sums[2] += x * x;
  }
  return at::tensor({sums[0], sums[1], sums[2]}, at::kDouble);
}

// ---- A step ----

at::Tensor moments_of(const std::map<std::string, at::Tensor>& state, const std::string& level) {
  const auto found = state.find("unsil." + level + ".moments");
  return found == state.end() ? at::Tensor() : found->second;
}

PlainStep plain_step(const LoupeConfig& config, const std::map<std::string, at::Tensor>& state, int ranks,
                     std::int64_t micro_batch) {
  PlainStep step;
  const bool raw = config.unsil.labels == "raw";
  step.model = loupe_copy(config, state);
  step.formula = std::make_unique<PlainLoupe>(*step.model, config, loupe_batch(kLoupeLocal * ranks), micro_batch,
                                              raw ? at::Tensor() : moments_of(state, "tokens"),
                                              raw ? at::Tensor() : moments_of(state, "phrases"));
  at::Tensor total = at::zeros({}, at::kDouble);
  for (const auto& [name, value] : step.formula->terms()) {
    total = total + step.formula->weight_of(name) * value;
    step.terms[name] = value.item<double>();
  }
  step.loss = total.item<double>();
  total.backward();
  for (auto& [name, parameter] : step.model->parameters())
    step.gradients[name] = parameter.grad().defined() ? parameter.grad() : at::zeros_like(parameter);
  return step;
}

void expect_formula(const LoupeRanks& got, const PlainStep& expected, const std::string& where) {
  EXPECT_NEAR(got.loss, expected.loss, kLoupeClose) << where;
  for (const auto& [name, value] : expected.terms) {
    ASSERT_TRUE(got.terms.contains(name)) << where << " " << name;
    EXPECT_NEAR(got.terms.at(name), value, kLoupeClose) << where << " " << name;
  }
  for (const auto& [name, value] : expected.formula->notes()) {
    ASSERT_TRUE(got.terms.contains(name)) << where << " " << name;
    EXPECT_NEAR(got.terms.at(name), value, kLoupeClose) << where << " " << name;
  }
  EXPECT_LT(difference(got.gradients, expected.gradients), kLoupeClose) << where;
  EXPECT_EQ(got.spread, 0) << where;
}

void expect_moments(const LoupeRanks& got, const PlainStep& expected, double decay, const std::string& where) {
  for (const bool pairs : {false, true}) {
    const std::string level = pairs ? "phrases" : "tokens";
    if (!moments_of(got.before, level).defined()) continue;
    const at::Tensor new_sums = expected.formula->taught(pairs), old_sums = moments_of(got.before, level);
    const at::Tensor wanted = new_sums[0].item<double>() == 0 ? old_sums : decay * old_sums + new_sums;
    EXPECT_LT(difference(moments_of(got.after, level), wanted), 1e-9) << where << " " << level;
  }
}

void expect_same_as_formula(const LoupeConfig& config, const std::vector<int>& all_ranks,
                            const std::vector<std::int64_t>& micro_batches, const std::string& where) {
  for (const int ranks : all_ranks) {
    for (const auto micro_batch : micro_batches) {
      const std::string here = where + " ranks " + std::to_string(ranks) + " micro " + std::to_string(micro_batch);
      const auto got = loupe_ranks(ranks, micro_batch, config);
      const auto expected = plain_step(config, got.before, ranks, micro_batch);
      expect_formula(got, expected, here);
      expect_moments(got, expected, config.unsil.moments_decay, here);
    }
  }
}

}  // namespace triptych
