// LOUPE on ranks and in micro-batches against its formula, written plainly row by row on the whole batch.
#include "core/objective/loupe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/base/errors.h"
#include "core/model/image_preprocess.h"
#include "core/objective/region_game.h"
#include "losses/shapley.h"
#include "tests/objective/tiny_loupe.h"

namespace triptych {
namespace {

// ---- The formula ----

at::Generator loupe_draws(Purpose purpose, std::int64_t row) {
  return keyed_generator(
      random_key(kSeed, purpose,
                 {static_cast<std::uint64_t>(kLoupeStep), static_cast<std::uint64_t>(kLoupeFirst + row)}),
      at::kCPU);
}

at::Tensor loupe_uniform(Purpose purpose, std::int64_t row, at::IntArrayRef shape) {
  return at::empty(shape, at::kFloat).uniform_(0, 1, loupe_draws(purpose, row));
}

/// v of the regions and phrases that are kept; alike [M, P], keep [M + P].
double phrase_game_value(const at::Tensor& alike, const bool* keep, bool renormalised) {
  const std::int64_t m = alike.size(0), p = alike.size(1);
  const auto a = alike.accessor<double, 2>();
  const auto in = [&](std::int64_t player) { return keep[player]; };
  double halves = 0;
  for (const bool by_region : {true, false}) {
    const std::int64_t lines = by_region ? m : p, columns = by_region ? p : m;
    double sum = 0;
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < lines; ++i) {
      if (!in(by_region ? i : m + i)) continue;
      double shares = 0, most = 0;
      for (std::int64_t j = 0; j < columns; ++j) {
        const bool present = in(by_region ? m + j : j);
        const double e = std::exp(by_region ? a[i][j] : a[j][i]);
        if (present || !renormalised) shares += e;
        if (present) most = std::max(most, e);
      }
      sum += most == 0 ? 0 : most / shares;
      ++count;
    }
    if (count > 0) halves += sum / static_cast<double>(count) / 2;
  }
  return halves;
}

struct PlainRow {
  at::Tensor logit_m, region_md, inside_mk;  ///< the most confident regions
  at::Tensor cell_kd, word_ld, is_word_l;
  at::Tensor alike_mp, phrase_pd;  ///< undefined where less than two phrases play
};

/// Targets that the sampler valued, and all labels, of a rank's micro-batch.
struct PlainPart {
  std::int64_t first = 0;
  std::map<std::int64_t, at::Tensor> region_value, pair_value;  ///< by row: [M], [M, P]; rows with labels only
  std::vector<std::array<std::int64_t, 2>> regions;             ///< row, region
  std::vector<std::array<std::int64_t, 3>> pairs;               ///< row, region, phrase
};

/// Everything of the whole batch. Labels are found in the constructor and are constants.
class PlainLoupe {
 public:
  PlainLoupe(LoupeModel& model, const LoupeConfig& config, const Batch& batch, std::int64_t micro_rows,
             const at::Tensor& moments = {}, const at::Tensor& pair_moments = {})
      : model_(model), config_(config), batch_(batch), micro_(micro_rows), ranks_(batch.images.size(0) / kLoupeLocal) {
    see();
    const c10::NoGradGuard no_grad;
    token_scale_ = scale_of(moments);
    phrase_scale_ = scale_of(pair_moments);
    for (std::int64_t first = 0; first < batch.images.size(0); first += micro_) {
      PlainPart part;
      part.first = first;
      if (config_.tokens.weight > 0) play_tokens(part);
      if (config_.phrases.weight > 0) play_phrases(part);
      parts_.push_back(part);
    }
  }

  at::Tensor contrast() const {
    const at::Tensor logits = image_.mm(text_.t()) / model_.temperature();
    return -(at::log_softmax(logits, 1).diagonal() + at::log_softmax(logits, 0).diagonal()).mean();
  }

  at::Tensor tsa() const {
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

  at::Tensor fsa() const {
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

  at::Tensor unsil_tokens() const {
    return counted([this](const PlainPart& part) {
      at::Tensor sum = zero();
      for (const auto& [row, region] : part.regions)
        sum = sum + surprise(model_.token_network()->forward(region_inputs(row, region)),
                             (part.region_value.at(row)[region] - token_scale_.first) / token_scale_.second);
      return std::pair{sum, static_cast<std::int64_t>(part.regions.size())};
    });
  }

  at::Tensor unsil_phrases() const {
    return counted([this](const PlainPart& part) {
      at::Tensor sum = zero();
      for (const auto& [row, region, phrase] : part.pairs)
        sum = sum + surprise(model_.phrase_network()->forward(pair_inputs(row, region, phrase)),
                             (part.pair_value.at(row)[region][phrase] - phrase_scale_.first) / phrase_scale_.second);
      return std::pair{sum, static_cast<std::int64_t>(part.pairs.size())};
    });
  }

  std::map<std::string, at::Tensor> terms() const {
    std::map<std::string, at::Tensor> all = {{"contrast", contrast()}};
    if (config_.tokens.weight > 0) all["tsa"] = tsa();
    if (config_.phrases.weight > 0) all["fsa"] = fsa();
    if (model_.token_network() != nullptr) all["unsil_tokens"] = unsil_tokens();
    if (model_.phrase_network() != nullptr) all["unsil_phrases"] = unsil_phrases();
    return all;
  }
  double weight_of(const std::string& term) const {
    if (term == "contrast") return 1;
    if (term == "tsa") return config_.tokens.weight;
    return term == "fsa" ? config_.phrases.weight : config_.unsil.weight;
  }
  const std::vector<PlainPart>& parts() const { return parts_; }
  /// Sums of the raw interactions that teach: count, sum, squares.
  at::Tensor taught(bool pairs) const {
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

 private:
  void see() {
    const at::Tensor tokens = batch_.tokens.select(1, 0);
    embedded_ = model_.visual().embedded(normalise_images(batch_.images.select(1, 0), tiny_facts(), at::kDouble), {});
    const auto image = model_.visual().encoded(embedded_, {});
    const at::Tensor text = model_.text().states(tokens, {}).back();
    image_ = unit(model_.image_embedding(image));
    text_ = unit(model_.text().project(text.select(1, 0)));
    rows_.clear();
    for (std::int64_t i = 0; model_.regions() != nullptr && i < image_.size(0); ++i)
      rows_.push_back(row_of(i, image.cell_nkd[i], text[i]));
  }

  static at::Tensor zero() { return at::zeros({}, at::kDouble); }
  static std::pair<double, double> scale_of(const at::Tensor& moments) {
    if (!moments.defined()) return {0, 1};
    const double n = moments[0].item<double>(), mean = moments[1].item<double>() / n;
    return {mean, std::sqrt(moments[2].item<double>() / n - mean * mean)};
  }

  /// Of all ranks' items of the k-th micro-batches, or each rank's own mean; then over micro-batches.
  template <class OfPart>
  at::Tensor counted(const OfPart& of_part) const {
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

  at::Tensor surprise(const UnsilOutput& out, const at::Tensor& wanted) const {
    const at::Tensor off = out.value_t[0] - wanted;
    return off * off / (config_.unsil.beta1 * out.sigma_t[0]) + config_.unsil.beta2 * out.sigma_t[0];
  }

  PlainRow row_of(std::int64_t i, const at::Tensor& cell_kw, const at::Tensor& text_lw) const {
    PlainRow row;
    const RegionBoxes boxes = model_.regions()->forward(cell_kw.unsqueeze(0));
    const at::Tensor size = boxes.size_nk2[0], place = at::arange(16, at::kLong), x = place % 4;
    const at::Tensor y = place.div(4, "floor");
    std::vector<at::Tensor> logit, region, inside;
    for (std::int64_t c = 0; c < 16; ++c) {
      const double sharp = 16 * config_.regions.sharpness;
      const at::Tensor dx = (x - c % 4).abs().to(at::kDouble) / 4, dy = (y - c / 4).abs().to(at::kDouble) / 4;
      const at::Tensor m = (sharp * (size[c][0] / 2 - dx)).sigmoid() * (sharp * (size[c][1] / 2 - dy)).sigmoid();
      const at::Tensor hard = (m > 0.5).logical_or(place == c);
      const bool soft = config_.regions.membership == "soft";
      const at::Tensor weight = soft ? m : hard.to(at::kDouble);
      const at::Tensor pooled = (weight.unsqueeze(1) * cell_kw).sum(0) / weight.sum();
      const bool own = config_.regions.confidence == "token";
      logit.push_back(own ? boxes.confidence_logit_nk[0][c] : model_.confidence(pooled));
      region.push_back(unit(model_.visual().project(pooled)));
      inside.push_back(hard);
    }
    std::vector<std::int64_t> order(16);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
      return logit[a].template item<double>() > logit[b].template item<double>();
    });
    const auto chosen = [&](const std::vector<at::Tensor>& of_cell) {
      std::vector<at::Tensor> picked;
      for (std::int64_t m = 0; m < config_.regions.count; ++m) picked.push_back(of_cell[order[m]]);
      return at::stack(picked);
    };
    row.logit_m = chosen(logit);
    row.region_md = chosen(region);
    row.inside_mk = chosen(inside);
    row.cell_kd = unit(model_.visual().project(cell_kw));
    row.word_ld = unit(model_.text().project(text_lw));
    row.is_word_l = batch_.tokens[i][0] > 3;
    see_phrases(i, text_lw, row);
    return row;
  }

  void see_phrases(std::int64_t i, const at::Tensor& text_lw, PlainRow& row) const {
    std::vector<at::Tensor> phrases;
    for (std::int64_t at = 0; config_.phrases.weight > 0 && at < batch_.phrases.size(0); ++at) {
      const auto place = batch_.phrases[at];
      const auto begin = place[2].item<std::int64_t>(), end = place[3].item<std::int64_t>();
      if (place[0].item<std::int64_t>() != i || static_cast<std::int64_t>(phrases.size()) == config_.phrases.most)
        continue;
      at::Tensor mean = at::zeros_like(text_lw[0]);
      for (std::int64_t piece = begin; piece < end; ++piece) mean = mean + text_lw[piece] / (end - begin);
      phrases.push_back(unit(model_.text().project(mean)));
    }
    if (phrases.size() < 2) return;
    row.phrase_pd = at::stack(phrases);
    row.alike_mp = row.region_md.mm(row.phrase_pd.t()) / config_.phrases.temperature;
  }

  UnsilInputs region_inputs(std::int64_t i, std::int64_t region) const {
    const auto& row = rows_[i];
    return {.image_tcd = row.cell_kd.unsqueeze(0).detach(),
            .text_tld = row.word_ld.unsqueeze(0).detach(),
            .text_valid_tl = row.is_word_l.unsqueeze(0),
            .target_tq = row.region_md[region].unsqueeze(0).detach(),
            .image_member_tc = row.inside_mk[region].unsqueeze(0)};
  }
  UnsilInputs pair_inputs(std::int64_t i, std::int64_t region, std::int64_t phrase) const {
    const auto& row = rows_[i];
    at::Tensor own_region = at::zeros({1, row.region_md.size(0)}, at::kBool),
               own_phrase = at::zeros({1, row.phrase_pd.size(0)}, at::kBool);
    own_region[0][region] = true;
    own_phrase[0][phrase] = true;
    return {.image_tcd = row.region_md.unsqueeze(0).detach(),
            .text_tld = row.phrase_pd.unsqueeze(0).detach(),
            .text_valid_tl = at::ones({1, row.phrase_pd.size(0)}, at::kBool),
            .target_tq = at::cat({row.region_md[region], row.phrase_pd[phrase]}).unsqueeze(0).detach(),
            .image_member_tc = own_region,
            .text_member_tl = own_phrase};
  }

  at::Tensor sampled(std::int64_t i, const std::vector<std::int64_t>& regions) const {
    const std::int64_t length = (batch_.tokens[i][0] != 0).sum().item<std::int64_t>();
    const PictureGame game{embedded_.narrow(0, i, 1).detach(), batch_.tokens[i].narrow(1, 0, length),
                           rows_[i].inside_mk.index_select(0, at::tensor(regions, at::kLong))};
    const auto members = [&](std::int64_t r) {
      return loupe_draws(Purpose::kMember, (kLoupeFirst + i) * config_.regions.count +
                                               regions[static_cast<std::size_t>(r)] - kLoupeFirst);
    };
    return sample_interactions(model_, config_, game, loupe_draws(Purpose::kCoalition, i), members, {}).each_rK.mean(1);
  }

  bool trusted() const { return config_.unsil.type != "none" && kLoupeStep >= config_.unsil.warmup; }

  /// The first `most` by what they are sorted by.
  template <class Target>
  static std::vector<Target> first_of(std::vector<std::pair<float, Target>> wanted, std::int64_t most) {
    std::sort(wanted.begin(), wanted.end());
    std::vector<Target> targets;
    for (const auto& [order, target] : wanted)
      if (static_cast<std::int64_t>(targets.size()) < most) targets.push_back(target);
    std::sort(targets.begin(), targets.end());
    return targets;
  }

  void play_tokens(PlainPart& part) const {
    const std::int64_t m = config_.regions.count;
    if (!trusted()) {  // whole pictures, by the first draw of each
      std::vector<std::pair<float, std::int64_t>> wanted;
      for (std::int64_t i = part.first; i < part.first + micro_; ++i)
        wanted.emplace_back(loupe_uniform(Purpose::kGate, i, {m})[0].item<float>(), i);
      for (const auto i : first_of(wanted, config_.tokens.targets / m)) {
        std::vector<std::int64_t> all(m);
        std::iota(all.begin(), all.end(), 0);
        part.region_value[i] = sampled(i, all);
        for (const auto region : all) part.regions.push_back({i, region});
      }
      return;
    }
    std::vector<std::pair<float, std::array<std::int64_t, 2>>> wanted;
    for (std::int64_t i = part.first; i < part.first + micro_; ++i) {
      const at::Tensor uniform = loupe_uniform(Purpose::kGate, i, {m});
      part.region_value[i] = at::empty({m}, at::kDouble);
      for (std::int64_t region = 0; region < m; ++region) {
        const UnsilOutput guess = model_.token_network()->forward(region_inputs(i, region));
        part.region_value[i][region] = guess.value_t[0] * token_scale_.second + token_scale_.first;
        const auto sigma = guess.sigma_t[0].to(at::kFloat).item<float>(), u = uniform[region].item<float>();
        if (u <= sigma) wanted.push_back({u / sigma, {i, region}});
      }
    }
    part.regions = first_of(wanted, config_.tokens.targets);
    std::map<std::int64_t, std::vector<std::int64_t>> by_row;
    for (const auto& [row, region] : part.regions) by_row[row].push_back(region);
    for (const auto& [row, regions] : by_row)
      part.region_value[row].index_copy_(0, at::tensor(regions, at::kLong), sampled(row, regions));
  }

  at::Tensor exact_pairs(const at::Tensor& alike) const {
    const std::int64_t m = alike.size(0), p = alike.size(1);
    const at::Tensor a = alike.detach().contiguous();
    const CoalitionValue value = [&](const at::Tensor& coalitions) {
      const at::Tensor keep = coalitions.contiguous();
      at::Tensor values = at::empty({keep.size(0)}, at::kDouble);
      for (std::int64_t c = 0; c < keep.size(0); ++c)
        values[c] = phrase_game_value(a, keep.const_data_ptr<bool>() + c * (m + p),
                                      config_.phrases.convention == "renormalised");
      return values;
    };
    return pair_interactions(value, m + p).narrow(0, 0, m).narrow(1, m, p);
  }

  void play_phrases(PlainPart& part) const {
    const bool network = model_.phrase_network() != nullptr;
    std::vector<std::pair<float, std::array<std::int64_t, 3>>> wanted;
    std::map<std::int64_t, at::Tensor> exact;
    for (std::int64_t i = part.first; i < part.first + micro_; ++i) {
      if (!rows_[i].alike_mp.defined()) continue;
      exact[i] = exact_pairs(rows_[i].alike_mp);
      part.pair_value[i] = exact[i].clone();
      const std::int64_t m = exact[i].size(0), p = exact[i].size(1);
      const at::Tensor uniform = loupe_uniform(Purpose::kPairGate, i, {m, config_.phrases.most});
      for (std::int64_t region = 0; network && region < m; ++region) {
        for (std::int64_t phrase = 0; phrase < p; ++phrase) {
          const UnsilOutput guess = model_.phrase_network()->forward(pair_inputs(i, region, phrase));
          const float sigma = trusted() ? guess.sigma_t[0].to(at::kFloat).item<float>() : 1;
          if (trusted())
            part.pair_value[i][region][phrase] = guess.value_t[0] * phrase_scale_.second + phrase_scale_.first;
          const auto u = uniform[region][phrase].item<float>();
          if (u <= sigma) wanted.push_back({u / sigma, {i, region, phrase}});
        }
      }
    }
    part.pairs = first_of(wanted, config_.phrases.targets);
    for (const auto& [row, region, phrase] : part.pairs)
      part.pair_value[row][region][phrase] = exact[row][region][phrase];
  }

  LoupeModel& model_;
  LoupeConfig config_;
  Batch batch_;
  std::int64_t micro_, ranks_;
  std::pair<double, double> token_scale_, phrase_scale_;
  at::Tensor embedded_, image_, text_;
  std::vector<PlainRow> rows_;
  std::vector<PlainPart> parts_;
};

// ---- Equality ----

at::Tensor moments_of(const std::map<std::string, at::Tensor>& state, const std::string& level) {
  const auto found = state.find("unsil." + level + ".moments");
  return found == state.end() ? at::Tensor() : found->second;
}

struct PlainStep {
  std::unique_ptr<LoupeModel> model;
  std::unique_ptr<PlainLoupe> formula;
  double loss = 0;
  LoupeTerms terms;
  Gradients gradients;
};

/// The formula with the weights of `state`.
PlainStep plain_step(const LoupeConfig& config, const std::map<std::string, at::Tensor>& state, int ranks,
                     std::int64_t micro_batch) {
  PlainStep step;
  step.model = loupe_copy(config, state);
  step.formula = std::make_unique<PlainLoupe>(*step.model, config, loupe_batch(kLoupeLocal * ranks), micro_batch,
                                              moments_of(state, "tokens"), moments_of(state, "phrases"));
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

constexpr double kLoupeClose = 1e-11;

void expect_formula(const LoupeRanks& got, const PlainStep& expected, const std::string& where) {
  EXPECT_NEAR(got.loss, expected.loss, kLoupeClose) << where;
  for (const auto& [name, value] : expected.terms) {
    ASSERT_TRUE(got.terms.contains(name)) << where << " " << name;
    EXPECT_NEAR(got.terms.at(name), value, kLoupeClose) << where << " " << name;
  }
  EXPECT_LT(difference(got.gradients, expected.gradients), kLoupeClose) << where;
  EXPECT_EQ(got.spread, 0) << where;
}

void expect_moments(const LoupeRanks& got, const PlainStep& expected, const std::string& where) {
  for (const bool pairs : {false, true}) {
    const std::string level = pairs ? "phrases" : "tokens";
    if (!moments_of(got.before, level).defined()) continue;
    const at::Tensor new_sums = expected.formula->taught(pairs), old_sums = moments_of(got.before, level);
    const at::Tensor wanted = new_sums[0].item<double>() == 0 ? old_sums : 0.99 * old_sums + new_sums;
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
      expect_moments(got, expected, here);
    }
  }
}

TEST(Loupe, IsTheFormulaOfTheWholeBatch) {
  expect_same_as_formula(tiny_loupe(), {1, 2, 3, 4}, {4, 2}, "sampler alone");
}

TEST(Loupe, EveryFormIsItsFormula) {
  const auto with = [](const std::string& name, const std::function<void(LoupeConfig&)>& change) {
    auto config = tiny_loupe();
    change(config);
    expect_same_as_formula(config, {3}, {2}, name);
  };
  with("own means", [](auto& c) { c.mean = "rank"; });
  with("hard members", [](auto& c) { c.regions.membership = "hard"; });
  with("own confidence", [](auto& c) { c.regions.confidence = "token"; });
  with("sharpness", [](auto& c) { c.regions.sharpness = 0.3; });
  with("renormalised", [](auto& c) { c.phrases.convention = "renormalised"; });
  with("one direction", [](auto& c) { c.phrases.directions = "rows"; });
  with("sigmoid", [](auto& c) { c.phrases.label = "sigmoid"; });
  with("attention pool", [](auto& c) { c.image_feature = "attention"; });
  with("no phrases", [](auto& c) { c.phrases.weight = 0; });
  with("no tokens", [](auto& c) { c.tokens.weight = 0; });
}

TEST(Loupe, TheNetworkSpeaksWhereItIsSure) {
  for (const char* form : {"attention", "conv", "transformer"}) {
    for (const char* level : {"tokens", "both"}) {
      auto config = tiny_loupe(form, level);
      expect_same_as_formula(config, {1, 3}, {2}, std::string(form) + " " + level);
      config.unsil.warmup = kLoupeStep + 1;  // it learns and is not asked
      expect_same_as_formula(config, {2}, {4}, std::string(form) + " warm-up " + level);
    }
  }
  auto config = tiny_loupe("attention", "both");
  config.tokens.targets = 1;  // the caps are met
  config.phrases.targets = 2;
  expect_same_as_formula(config, {4}, {4}, "caps");
  config.mean = "rank";
  config.tokens.targets = 100;
  expect_same_as_formula(config, {4}, {4}, "own means");
}

/// Adds to the networks' last bias of `head`.
void shift_head(LoupeObjective& objective, const std::string& head, double by) {
  const c10::NoGradGuard no_grad;
  for (auto& [name, tensor] : loupe_state(objective))
    if (name.starts_with("unsil.") && name.find("." + head + ".2.bias") != std::string::npos) tensor.add_(by);
}

TEST(Loupe, ARankWithoutSampledTargetsTakesPart) {
  auto config = tiny_loupe("attention", "both");
  for (const double shift : {-4.0, -60.0, 60.0}) {
    const auto got = loupe_ranks(4, 4, config, [&](LoupeObjective& objective) {
      disturb_loupe(objective);
      shift_head(objective, "sigma", shift);
    });
    const auto expected = plain_step(config, got.before, 4, 4);
    expect_formula(got, expected, std::to_string(shift));
    expect_moments(got, expected, std::to_string(shift));
    EXPECT_EQ(got.gradients.size(), expected.gradients.size());
    if (shift == -4.0) {  // some ranks have targets, and one has none
      EXPECT_EQ(got.sampled.min().item<double>(), 0);
      EXPECT_GT(got.sampled.max().item<double>(), 0);
    } else {
      EXPECT_EQ(got.sampled.max().item<double>(), shift < 0 ? 0 : 0.5);  // none, or as many as the cap allows
    }
  }
}

/// Negative controls: formulas that are slightly wrong are told apart.
TEST(LoupeControl, AWrongFormulaIsNoticed) {
  auto config = tiny_loupe("attention", "both");
  const auto got = loupe_ranks(3, 2, config);
  const auto noticed = [&](const std::string& mistake, const LoupeConfig& wrong, std::int64_t micro_batch = 2) {
    const auto expected = plain_step(wrong, got.before, 3, micro_batch);
    EXPECT_GT(difference(got.gradients, expected.gradients), 1e-6) << mistake;
  };
  expect_formula(got, plain_step(config, got.before, 3, 2), "right");
  auto wrong = config;
  wrong.mean = "rank";
  noticed("mean", wrong);
  wrong = config;
  wrong.phrases.directions = "rows";
  noticed("directions", wrong);
  wrong = config;
  wrong.phrases.convention = "renormalised";
  noticed("convention", wrong);
  wrong = config;
  wrong.tokens.targets = 2;
  noticed("targets", wrong);
  wrong = config;
  wrong.unsil.warmup = 100;
  noticed("warm-up", wrong);
  wrong = config;
  wrong.regions.membership = "hard";
  noticed("members", wrong);
  noticed("micro-batches", config, 4);
}

TEST(Loupe, SampledPairsComeNearTheExact) {
  auto config = tiny_loupe();
  const auto fsa = [&](std::int64_t samples) {
    config.phrases.value = samples == 0 ? "exact" : "sampled";
    config.phrases.samples = samples;
    return loupe_ranks(2, 2, config).terms.at("fsa");
  };
  const double exact = fsa(0), many = std::abs(fsa(20000) - exact), few = std::abs(fsa(20) - exact);
  EXPECT_LT(many, 0.03 * exact);
  EXPECT_GT(few, 2 * many);
  run_ranks(1, [&](Collectives& comm) {
    LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
    disturb_loupe(objective);
    StepScope whole = loupe_scope(comm), cut = loupe_scope(comm);
    const Batch batch = loupe_rows(loupe_batch(8), 4, 4);  // one caption with phrases in each half
    const double once = loupe_measured(objective, {batch}, whole).terms.at("fsa");
    EXPECT_NEAR(loupe_measured(objective, loupe_cut(batch, 2), cut).terms.at("fsa"), once, 1e-12);  // the rows' draws
  });
}

// ---- Contrast alone ----

TEST(Loupe, WithoutGamesItIsTwiceClipWithoutARegionHead) {
  auto config = tiny_loupe();
  config.tokens.weight = config.phrases.weight = 0;
  config.temperature = 0.25;
  const auto got = loupe_ranks(3, 2, config);
  expect_formula(got, plain_step(config, got.before, 3, 2), "contrast");
  for (const auto& [name, gradient] : got.gradients) EXPECT_EQ(name.find("region"), std::string::npos) << name;
  run_ranks(1, [&](Collectives& comm) {
    const auto clip = make_objective(ClipConfig{}, tiny_loupe_model(), tiny_facts(), in_fp64());
    {
      const c10::NoGradGuard no_grad;
      for (auto& [name, tensor] : clip->module().parameters())
        name == "logit_scale" ? tensor.fill_(std::log(4.0)) : tensor.copy_(got.before.at(name));
    }
    StepScope scope = loupe_scope(comm);
    const Batch batch = loupe_batch(3 * kLoupeLocal);
    EXPECT_NEAR(2 * clip->accumulate(loupe_cut(batch, 12), scope).total.item<double>(), got.loss, 1e-12);
    for (const auto& [name, gradient] : gradients_of(clip->module())) {
      if (name == "logit_scale")  // 1 / temperature = e^scale
        EXPECT_NEAR(2 * gradient.item<double>() * -4, got.gradients.at("temperature").item<double>(), 1e-11);
      else
        EXPECT_LT(difference(2 * gradient, got.gradients.at(name)), 1e-11) << name;
    }
    LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
    EXPECT_FALSE(objective.needs().phrases);
    EXPECT_EQ(objective.encode(loupe_batch(4), scope).size(), 2U);
    EXPECT_FALSE(objective.encoders().regions);
  });
}

TEST(Loupe, TheTemperatureStaysInItsBoundsOrIsNoneOfTheState) {
  run_ranks(1, [](Collectives& comm) {
    LoupeObjective learnt(tiny_loupe(), tiny_loupe_model(), tiny_facts(), in_fp64());
    StepScope scope = loupe_scope(comm);
    at::Tensor temperature = loupe_state(learnt).at("temperature");
    for (const auto& [value, wanted] : {std::pair{3.0, 0.5}, {-1.0, 0.01}, {0.2, 0.2}}) {
      temperature.fill_(value);
      learnt.after_update(scope);
      EXPECT_DOUBLE_EQ(temperature.item<double>(), wanted);
      EXPECT_DOUBLE_EQ(learnt.encoders().scale->item<double>(), 1 / wanted);
    }
    auto config = tiny_loupe();
    config.learn_temperature = false;
    config.temperature = 0.125;
    LoupeObjective fixed(config, tiny_loupe_model(), tiny_facts(), in_fp64());
    EXPECT_FALSE(loupe_state(fixed).contains("temperature"));
    for (const auto& [name, tensor] : fixed.module().parameters()) EXPECT_NE(name, "temperature");
    EXPECT_DOUBLE_EQ(fixed.encoders().scale->item<double>(), 8);
  });
  auto config = tiny_loupe();
  config.learn_temperature = false;
  expect_same_as_formula(config, {2}, {2}, "fixed temperature");
}

// ---- Slopes ----

/// Central differences of the step's loss in two weights of each parameter that `wanted` names. Labels must not
/// change with them.
void expect_slopes(LoupeObjective& objective, const std::vector<std::string>& wanted) {
  run_ranks(1, [&](Collectives& comm) {
    const Batch batch = loupe_rows(loupe_batch(8), 1, 4);
    const auto gradients = [&] {
      StepScope own = loupe_scope(comm);
      return loupe_measured(objective, {batch}, own);
    };
    const auto at_start = gradients().gradients;
    int tried = 0;
    for (auto& [name, tensor] : objective.module().parameters()) {
      const bool ours =
          std::any_of(wanted.begin(), wanted.end(), [&](const auto& start) { return name.starts_with(start); });
      if (!ours) continue;
      const at::Tensor flat = tensor.detach().view({-1});
      for (const std::int64_t at : {flat.size(0) / 3, flat.size(0) - 1}) {
        const auto loss_at = [&](double by) {
          flat[at].add_(by);
          const double loss = gradients().loss;
          flat[at].sub_(by);
          return loss;
        };
        const double step = 1e-5, slope = (loss_at(step) - loss_at(-step)) / (2 * step);
        const double gradient = at_start.at(name).flatten()[at].item<double>();
        EXPECT_NEAR(gradient, slope, 1e-6 * std::max(1.0, std::abs(slope))) << name << " " << at;
        tried += std::abs(slope) > 1e-5 ? 1 : 0;
      }
    }
    EXPECT_GT(tried, 4);
  });
}

LoupeObjective& disturbed(LoupeObjective& objective) {
  disturb_loupe(objective);
  return objective;
}

TEST(LoupeSlopes, OfTheContrast) {
  auto config = tiny_loupe();
  config.tokens.weight = config.phrases.weight = 0;
  LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
  expect_slopes(disturbed(objective), {"visual.proj", "visual.layers.1", "text_projection", "temperature"});
}

/// The game sees regions by their members alone, which so small a step does not change.
TEST(LoupeSlopes, OfTheTokensInTheRegionHead) {
  for (const char* confidence : {"pooled", "token"}) {
    auto config = tiny_loupe();
    config.phrases.weight = 0;
    config.regions.confidence = confidence;
    LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
    expect_slopes(disturbed(objective), {"region_"});
  }
}

/// Labels that are constants: a network sure of one number whatever it sees, through a sigmoid.
TEST(LoupeSlopes, OfThePhrasesInRegionHeadAndTowers) {
  auto config = tiny_loupe("attention", "both");
  config.tokens.weight = 0;
  config.phrases.label = "sigmoid";
  LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
  disturb_loupe(objective);
  shift_head(objective, "sigma", -60);
  shift_head(objective, "value", 0.4);
  const c10::NoGradGuard no_grad;
  loupe_state(objective).at("unsil.phrases.value.2.weight").fill_(0);
  const c10::AutoGradMode grad(true);
  expect_slopes(objective, {"region_head", "visual.proj", "text_projection", "encoder.layer.0.attention"});
}

TEST(LoupeSlopes, OfTheNetworksWhileTheyAreNotAsked) {
  for (const char* form : {"attention", "conv", "transformer"}) {
    auto config = tiny_loupe(form, "both");
    config.unsil.warmup = 100;
    config.tokens.coalitions = 2;
    config.tokens.targets = 3;
    LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
    expect_slopes(disturbed(objective), {"unsil.tokens.value.0", "unsil.tokens.sigma.0", "unsil.tokens.text.context",
                                         "unsil.tokens.types", "unsil.phrases.value.0", "unsil.phrases.sigma.0",
                                         "unsil.phrases.image.target", "unsil.phrases.class_embedding"});
  }
}

// ---- Odd rows ----

TEST(Loupe, OneRegionOnePhraseAndEmptyCaptionsAreDefined) {
  auto config = tiny_loupe("conv", "both");
  config.regions.count = 1;
  run_ranks(1, [&](Collectives& comm) {
    const Batch all = loupe_batch(8);
    for (const auto& batch : {loupe_rows(all, 7, 1), loupe_rows(all, 0, 1), loupe_rows(all, 3, 1), all}) {
      LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
      disturb_loupe(objective);
      StepScope scope = loupe_scope(comm);
      const auto got = loupe_measured(objective, {batch}, scope);
      EXPECT_TRUE(std::isfinite(got.loss));
      for (const auto& [name, gradient] : got.gradients) {
        ASSERT_TRUE(gradient.defined()) << name;
        EXPECT_TRUE(gradient.isfinite().all().item<bool>()) << name;
      }
      const bool alone = batch.images.size(0) == 1;
      EXPECT_EQ(got.terms.at("fsa") == 0, alone);  // less than two phrases
      EXPECT_EQ(got.terms.at("captions_with_phrases") == 0, alone);
      EXPECT_GT(got.terms.at("tsa"), 0);  // one region's label is 1/2
    }
  });
}

TEST(Loupe, ASkippedStepLeavesNothingBehind) {
  run_ranks(1, [](Collectives& comm) {
    auto config = tiny_loupe("attention");
    config.unsil.warmup = 100;
    const auto moments_after = [&](bool skipped) {
      LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
      disturb_loupe(objective);
      StepScope first = loupe_scope(comm, 1), second = loupe_scope(comm, 2);
      if (skipped) loupe_measured(objective, {loupe_rows(loupe_batch(8), 4, 4)}, first);  // no update
      loupe_measured(objective, {loupe_rows(loupe_batch(8), 0, 4)}, second);
      objective.after_update(second);
      return loupe_state(objective).at("unsil.tokens.moments").clone();
    };
    EXPECT_TRUE(at::equal(moments_after(true), moments_after(false)));
  });
}

// ---- Refusals ----

void expect_loupe_refused(const LoupeConfig& config, const ModelConfig& model, const std::string& part,
                          const CorpusFacts& facts = tiny_facts()) {
  try {
    LoupeObjective objective(config, model, facts, in_fp64());
    ADD_FAILURE() << "accepted: " << part;
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(Loupe, ModelsAndCorporaThatCannotWorkAreRefused) {
  auto model = tiny_loupe_model();
  model.text = CausalTransformerConfig{};
  expect_loupe_refused(tiny_loupe(), model, "model.text.type");
  model = tiny_loupe_model();
  model.image = ResNetConfig{};
  expect_loupe_refused(tiny_loupe(), model, "model.image.type");
  model = tiny_loupe_model();
  model.image = VitConfig{.image_size = 16, .patch_size = 4, .width = 12, .depth = 1, .heads = 3, .patch_dropout = 0.5};
  expect_loupe_refused(tiny_loupe(), model, "model.image.patch_dropout");
  model = tiny_loupe_model();
  model.init_logit_scale = 1;
  expect_loupe_refused(tiny_loupe(), model, "model.init_logit_scale");
  auto facts = tiny_facts();
  facts.captions = 2;
  expect_loupe_refused(tiny_loupe(), tiny_loupe_model(), "data.captions.all_positive", facts);
  model = tiny_loupe_model();
  model.fusion = FusionConfig{};
  EXPECT_THROW(make_objective(tiny_loupe(), model, tiny_facts(), in_fp64()), ConfigError);
  auto config = tiny_loupe();
  config.regions.count = 17;
  expect_loupe_refused(config, tiny_loupe_model(), "objective.regions.count");
  config.tokens.weight = config.phrases.weight = 0;  // nobody asks for regions
  EXPECT_NO_THROW(LoupeObjective(config, tiny_loupe_model(), tiny_facts(), in_fp64()));
  config = tiny_loupe("transformer");
  config.unsil.heads = 4;  // of 6 channels
  expect_loupe_refused(config, tiny_loupe_model(), "objective.unsil.heads");
  config = tiny_loupe();
  config.phrases.convention = "renormalised";
  config.regions.count = 17;
  model = tiny_loupe_model();
  std::get<SwinConfig>(model.image).depths = {2};
  std::get<SwinConfig>(model.image).heads = {2};
  expect_loupe_refused(config, model, "objective.phrases.convention");  // 2^17 sets
  config.phrases.value = "sampled";
  EXPECT_NO_THROW(LoupeObjective(config, model, tiny_facts(), in_fp64()));
}

void expect_invalid(const LoupeConfig& config, const std::string& key) {
  try {
    config.validate();
    ADD_FAILURE() << "accepted: " << key;
  } catch (const FieldError& e) {
    EXPECT_EQ(e.key(), key) << e.what();
  }
}

TEST(Loupe, SettingsThatContradictEachOtherAreRefused) {
  EXPECT_NO_THROW(tiny_loupe().validate());
  EXPECT_NO_THROW(LoupeConfig{}.validate());
  auto config = tiny_loupe();
  config.tokens.coalitions = 5;
  expect_invalid(config, "tokens.coalitions");
  config.tokens.sampler = "stratified";
  EXPECT_NO_THROW(config.validate());
  config = tiny_loupe();
  config.tokens.targets = 2;  // of 3 regions
  expect_invalid(config, "tokens.targets");
  config.unsil.type = "conv";
  EXPECT_NO_THROW(config.validate());  // warm-up 0
  config.unsil.warmup = 1;
  expect_invalid(config, "tokens.targets");
  config = tiny_loupe("conv");
  config.tokens.weight = 0;
  expect_invalid(config, "unsil.type");
  config = tiny_loupe("conv", "both");
  config.phrases.weight = 0;
  expect_invalid(config, "unsil.level");
}

TEST(Loupe, KeysThatMeanNothingAreRefused) {
  EXPECT_NO_THROW(tiny_loupe("transformer", "both").validate());
  auto config = tiny_loupe();
  config.phrases.samples = 7;
  expect_invalid(config, "phrases.samples");
  config.phrases.value = "sampled";
  EXPECT_NO_THROW(config.validate());
  config = tiny_loupe("conv", "both");
  config.unsil.level = "tokens";
  expect_invalid(config, "phrases.targets");
  config = tiny_loupe("transformer");
  config.unsil.type = "conv";
  expect_invalid(config, "unsil.heads");
}

}  // namespace
}  // namespace triptych
