// What is seen of a batch and how the games are played on it; terms are in plain_loupe_terms.cpp.
#include "tests/objective/plain_loupe.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/model/image_preprocess.h"
#include "core/objective/region_game.h"
#include "losses/shapley.h"

namespace triptych {
namespace {

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

/// Mean and deviation.
std::pair<double, double> scale_of(const at::Tensor& moments) {
  if (!moments.defined()) return {0, 1};
  const double n = moments[0].item<double>(), mean = moments[1].item<double>() / n;
  return {mean, std::sqrt(moments[2].item<double>() / n - mean * mean)};
}

/// The first `most` by what they are sorted by.
template <class Target>
std::vector<Target> first_of(std::vector<std::pair<float, Target>> wanted, std::int64_t most) {
  std::sort(wanted.begin(), wanted.end());
  std::vector<Target> targets;
  for (const auto& [order, target] : wanted)
    if (static_cast<std::int64_t>(targets.size()) < most) targets.push_back(target);
  std::sort(targets.begin(), targets.end());
  return targets;
}

}  // namespace

PlainLoupe::PlainLoupe(LoupeModel& model, const LoupeConfig& config, const Batch& batch, std::int64_t micro_rows,
                       const at::Tensor& moments, const at::Tensor& pair_moments)
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

// ---- What is seen ----

void PlainLoupe::see() {
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

PlainRow PlainLoupe::row_of(std::int64_t i, const at::Tensor& cell_kw, const at::Tensor& text_lw) const {
  PlainRow row;
  const RegionBoxes boxes = model_.regions()->forward(cell_kw.unsqueeze(0));
  const at::Tensor size = boxes.size_nk2[0], place = at::arange(16, at::kLong), x = place % 4;
  const at::Tensor y = place.div(4, "floor");
  std::vector<at::Tensor> logit, region, inside, box;
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
    const at::Tensor centre = at::tensor({c % 4 + 0.5, c / 4 + 0.5}, at::kDouble) / 4;
    box.push_back(at::cat({centre - size[c] / 2, centre + size[c] / 2}).clamp(0, 1));
  }
  std::vector<std::int64_t> order(16);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return logit[a].template item<double>() > logit[b].template item<double>(); });
  const auto chosen = [&](const std::vector<at::Tensor>& of_cell) {
    std::vector<at::Tensor> picked;
    for (std::int64_t m = 0; m < config_.regions.count; ++m) picked.push_back(of_cell[order[m]]);
    return at::stack(picked);
  };
  row.logit_m = chosen(logit);
  row.region_md = chosen(region);
  row.inside_mk = chosen(inside);
  row.box_m4 = chosen(box);
  row.cell_kd = unit(model_.visual().project(cell_kw));
  row.word_ld = unit(model_.text().project(text_lw));
  row.is_word_l = batch_.tokens[i][0] > 3;
  see_phrases(i, text_lw, row);
  return row;
}

void PlainLoupe::see_phrases(std::int64_t i, const at::Tensor& text_lw, PlainRow& row) const {
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
  if (phrases.empty() || static_cast<std::int64_t>(phrases.size()) < config_.phrases.fewest) return;
  row.phrase_pd = at::stack(phrases);
  row.alike_mp = row.region_md.mm(row.phrase_pd.t()) / config_.phrases.temperature;
}

UnsilInputs PlainLoupe::region_inputs(std::int64_t i, std::int64_t region) const {
  const auto& row = rows_[i];
  return {.image_tcd = row.cell_kd.unsqueeze(0).detach(),
          .text_tld = row.word_ld.unsqueeze(0).detach(),
          .text_valid_tl = row.is_word_l.unsqueeze(0),
          .target_tq = row.region_md[region].unsqueeze(0).detach(),
          .image_member_tc = row.inside_mk[region].unsqueeze(0)};
}

UnsilInputs PlainLoupe::pair_inputs(std::int64_t i, std::int64_t region, std::int64_t phrase) const {
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

// ---- Games ----

at::Tensor PlainLoupe::sampled(std::int64_t i, const std::vector<std::int64_t>& regions, PlainPart& part) const {
  const std::int64_t length = (batch_.tokens[i][0] != 0).sum().item<std::int64_t>();
  const PictureGame game{embedded_.narrow(0, i, 1).detach(), batch_.tokens[i].narrow(1, 0, length),
                         rows_[i].inside_mk.index_select(0, at::tensor(regions, at::kLong))};
  const auto members = [&](std::int64_t r) {
    return loupe_draws(Purpose::kMember,
                       (kLoupeFirst + i) * config_.regions.count + regions[static_cast<std::size_t>(r)] - kLoupeFirst);
  };
  const at::Tensor each_rK =
      sample_interactions(model_, config_, game, loupe_draws(Purpose::kCoalition, i), members, {}).each_rK;
  TORCH_CHECK(config_.tokens.sampler == "antithetic" && each_rK.size(1) == 4, "two pairs: 0 with 2, 1 with 3");
  for (std::int64_t r = 0; r < each_rK.size(0); ++r) {
    const at::Tensor one = (each_rK[r][0] + each_rK[r][2]) / 2, other = (each_rK[r][1] + each_rK[r][3]) / 2;
    part.spread += (one - other).abs().item<double>() / std::sqrt(2.0);
    part.size += each_rK[r].mean().abs().item<double>();
  }
  return each_rK.mean(1);
}

void PlainLoupe::play_tokens(PlainPart& part) const {
  const std::int64_t m = config_.regions.count;
  if (!trusted()) {  // whole pictures, by the first draw of each
    std::vector<std::pair<float, std::int64_t>> wanted;
    for (std::int64_t i = part.first; i < part.first + micro_; ++i)
      wanted.emplace_back(loupe_uniform(Purpose::kGate, i, {m})[0].item<float>(), i);
    for (const auto i : first_of(wanted, config_.tokens.targets / m)) {
      std::vector<std::int64_t> all(m);
      std::iota(all.begin(), all.end(), 0);
      part.region_value[i] = sampled(i, all, part);
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
  for (const auto& [row, regions] : by_row) {
    const at::Tensor places = at::tensor(regions, at::kLong), value = sampled(row, regions, part);
    part.off += (part.region_value[row].index_select(0, places) - value).abs().sum().item<double>();
    part.region_value[row].index_copy_(0, places, value);
  }
}

at::Tensor PlainLoupe::exact_pairs(const at::Tensor& alike) const {
  const std::int64_t m = alike.size(0), p = alike.size(1);
  const at::Tensor a = alike.detach().contiguous();
  const CoalitionValue value = [&](const at::Tensor& coalitions) {
    const at::Tensor keep = coalitions.contiguous();
    at::Tensor values = at::empty({keep.size(0)}, at::kDouble);
    for (std::int64_t c = 0; c < keep.size(0); ++c)
      values[c] =
          phrase_game_value(a, keep.const_data_ptr<bool>() + c * (m + p), config_.phrases.convention == "renormalised");
    return values;
  };
  return pair_interactions(value, m + p).narrow(0, 0, m).narrow(1, m, p);
}

void PlainLoupe::play_phrases(PlainPart& part) const {
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

}  // namespace triptych
