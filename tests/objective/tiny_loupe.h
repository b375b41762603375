// A tiny model for LOUPE, a batch with noun phrases for it, a step of it on ranks, and its state.
#pragma once
#include <c10/core/GradMode.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/objective/loupe.h"
#include "tests/objective/tiny.h"

namespace triptych {

inline constexpr std::int64_t kLoupeLocal = 4, kLoupeStep = 5, kLoupeContext = 9, kLoupeFirst = 1000;

/// Two stages; the last grid is 4 x 4, of 16 pixels, or 2 x 2, of 8. No dropout.
inline ModelConfig tiny_loupe_model(std::int64_t image_size = 16) {
  SwinConfig image{.image_size = image_size, .patch_size = 2, .width = 6, .window = 4};
  image.depths = {2, 1};
  image.heads = {2, 3};
  image.mlp_ratio = 2;
  image.drop_path = 0;
  ModelConfig model;
  model.image = image;
  model.text = BertConfig{.context = kLoupeContext,
                          .width = 8,
                          .depth = 1,
                          .heads = 2,
                          .vocabulary = 40,
                          .mlp_ratio = 2,
                          .dropout = 0,
                          .positions = kLoupeContext};
  model.embed_dim = 6;
  return model;
}

/// 3 regions, at most 4 phrases; of a micro-batch the sampler values two pictures. No weight is 1 or like another.
inline LoupeConfig tiny_loupe(const std::string& unsil = "none", const std::string& level = "tokens") {
  LoupeConfig config;
  config.regions.count = 3;
  config.regions.hidden = 5;
  config.regions.least = 0.2;
  config.tokens.weight = 0.7;
  config.tokens.coalitions = 4;
  config.tokens.members = 2;
  config.tokens.targets = 6;
  config.phrases.weight = 1.3;
  config.phrases.temperature = 0.4;
  config.phrases.most = 4;
  if (level == "both") config.phrases.targets = 7;
  config.start_word = 2;
  config.end_word = 3;
  config.unsil.type = unsil;
  if (unsil == "none") return config;
  config.unsil.level = level;
  if (unsil == "transformer") config.unsil.heads = 2;
  config.unsil.warmup = 0;
  config.unsil.weight = 0.6;
  config.unsil.beta1 = 0.8;
  config.unsil.beta2 = 1.4;
  return config;
}

/// Rows [first, first + count) with their phrases.
inline Batch loupe_rows(const Batch& batch, std::int64_t first, std::int64_t count) {
  Batch part = rows(batch, first, count);
  const at::Tensor row = batch.phrases.select(1, 0);
  part.phrases = batch.phrases.index_select(0, ((row >= first) & (row < first + count)).nonzero().squeeze(1));
  part.phrases.select(1, 0).sub_(first);
  return part;
}

inline std::vector<Batch> loupe_cut(const Batch& batch, std::int64_t micro_batch) {
  std::vector<Batch> parts;
  for (std::int64_t first = 0; first < batch.images.size(0); first += micro_batch)
    parts.push_back(loupe_rows(batch, first, micro_batch));
  return parts;
}

/// Captions of 0 to 6 words (of those without words one is [CLS] alone) and with 0 to 5 phrases of 1, 2 or 4 word
/// pieces, whose shares are exact in fp32. Of 4 rows a rank, the third rank has no phrase at all.
inline Batch loupe_batch(std::int64_t n, std::int64_t side = 16) {
  Batch batch;
  batch.images = (draw({121}, {n, 1, side, side, 3}) * 60 + 128).clamp(0, 255).to(at::kByte);
  batch.tokens = at::zeros({n, 1, kLoupeContext}, at::kLong);
  const at::Tensor word = (draw({122}, {n, kLoupeContext}).abs() * 12).to(at::kLong).clamp(0, 34) + 5;
  std::vector<std::int64_t> phrases;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t words = i * 3 % 7;
    const at::Tensor row = batch.tokens[i][0];
    row[0] = 2;
    row.narrow(0, 1, words).copy_(word[i].narrow(0, 0, words));
    if (i != 7) row[words + 1] = 3;
    if (i / kLoupeLocal == 2) continue;
    for (const auto& [begin, end] : {std::pair{1, 2}, {2, 4}, {1, 5}, {5, 7}, {3, 4}})
      if (end <= words + 1) phrases.insert(phrases.end(), {i, 0, begin, end});
  }
  batch.phrases = at::tensor(phrases, at::kLong).view({-1, 4});
  batch.labels = at::full({n}, kNoLabel, at::kLong);
  batch.sample_ids = at::arange(n, at::kLong);
  batch.first_position = kLoupeFirst;
  return batch;
}

/// Tensors of the state, by name.
inline std::map<std::string, at::Tensor> loupe_state(Objective& objective) {
  struct Reader : StateVisitor {
    std::map<std::string, at::Tensor> tensors;
    void tensor(const std::string& name, at::Tensor& tensor) override { tensors[name] = tensor.detach(); }
    void integer(const std::string&, std::int64_t&) override {}
    void real(const std::string&, double&) override {}
    void text(const std::string&, std::string&) override {}
  } reader;
  objective.visit_state(reader);
  return reader.tensors;
}

/// Weights far from their start, where most of what a model computes hardly depends on its input; boxes of some cells;
/// and labels seen before, with a mean and a deviation.
inline void disturb_loupe(LoupeObjective& objective) {
  const c10::NoGradGuard no_grad;
  std::uint64_t key = 0;
  for (auto& [name, tensor] : loupe_state(objective)) {
    const bool wide = name.starts_with("region_head.output") || name.starts_with("region_confidence");
    if (name.ends_with(".moments")) {
      tensor.copy_(at::tensor({40.0, 40 * 0.01, 40 * (0.0009 + 0.0001)}, at::kDouble));
    } else if (name != "temperature") {
      tensor.add_(draw({131, ++key}, tensor.sizes()), wide ? 0.6 : 0.2);
    }
    if (name == "region_head.output.bias") tensor.narrow(0, 0, 2).fill_(0.5);
  }
}

/// Adds to the last bias of the networks' `head`: value or sigma.
inline void shift_head(LoupeObjective& objective, const std::string& head, double by) {
  const c10::NoGradGuard no_grad;
  for (auto& [name, tensor] : loupe_state(objective))
    if (name.starts_with("unsil.") && name.find("." + head + ".2.bias") != std::string::npos) tensor.add_(by);
}

inline StepScope loupe_scope(Collectives& comm, std::int64_t step = kLoupeStep, GradientSync* sync = nullptr) {
  return {{.step = step, .samples_seen = kLoupeFirst, .epoch = 0}, kSeed, kFp64, comm, sync};
}

using LoupeTerms = std::map<std::string, double>;

/// A step without ranks: its loss, terms and gradients.
struct LoupeMeasured {
  double loss = 0;
  LoupeTerms terms;
  Gradients gradients;
};

inline LoupeMeasured loupe_measured(LoupeObjective& objective, const std::vector<Batch>& parts, StepScope& scope) {
  for (auto& [name, tensor] : objective.module().parameters()) tensor.mutable_grad() = at::Tensor();
  const LossReport report = objective.accumulate(parts, scope);
  LoupeMeasured result{report.total.item<double>(), {}, gradients_of(objective.module())};
  for (const auto& term : report.terms) result.terms[term.name] = term.value.item<double>();
  return result;
}

/// What ranks agree on, and what they do not.
struct LoupeRanks {
  double loss = 0;                                  ///< mean over ranks
  LoupeTerms terms;                                 ///< likewise
  Gradients gradients;                              ///< after averaging
  double spread = 0;                                ///< largest difference between ranks' gradients
  at::Tensor sampled;                               ///< share of the regions that were sampled, by rank
  std::map<std::string, at::Tensor> before, after;  ///< rank 0's state, around the step
};

/// One step of `size` ranks of kLoupeLocal rows through the real GradientSync; prepare: changes each rank's objective.
inline LoupeRanks loupe_ranks(int size, std::int64_t micro_batch, const LoupeConfig& config,
                              const std::function<void(LoupeObjective&)>& prepare = disturb_loupe) {
  std::vector<LoupeMeasured> each(static_cast<std::size_t>(size));
  LoupeRanks result;
  run_ranks(size, [&](Collectives& comm) {
    LoupeObjective objective(config, tiny_loupe_model(), tiny_facts(), in_fp64());
    prepare(objective);
    std::vector<std::string> names;
    std::vector<at::Tensor> tensors;
    for (const auto& [name, tensor] : objective.module().parameters()) {
      names.push_back(name);
      tensors.push_back(tensor);
    }
    GradientSync sync(objective.sync_form(), names, tensors, comm, {.first_bucket_bytes = 4000, .bucket_bytes = 16000});
    StepScope scope = loupe_scope(comm, kLoupeStep, &sync);
    const auto copy = [&](std::map<std::string, at::Tensor>& into) {
      if (comm.rank() != 0) return;
      for (const auto& [name, tensor] : loupe_state(objective)) into[name] = tensor.clone();
    };
    copy(result.before);
    sync.before_forward();
    const Batch local = loupe_rows(loupe_batch(kLoupeLocal * size), comm.rank() * kLoupeLocal, kLoupeLocal);
    auto& mine = each[static_cast<std::size_t>(comm.rank())];
    mine = loupe_measured(objective, loupe_cut(local, micro_batch), scope);
    sync.finish();
    mine.gradients = gradients_of(objective.module());
    objective.after_update(scope);
    copy(result.after);
  });
  result.gradients = each[0].gradients;
  result.sampled = at::zeros({size}, at::kDouble);
  for (std::size_t rank = 0; rank < each.size(); ++rank) {
    result.loss += each[rank].loss / size;
    for (const auto& [name, value] : each[rank].terms) result.terms[name] += value / size;
    result.spread = std::max(result.spread, difference(each[rank].gradients, result.gradients));
    if (const auto found = each[rank].terms.find("sampled_regions"); found != each[rank].terms.end())
      result.sampled[static_cast<std::int64_t>(rank)] = found->second;
  }
  return result;
}

/// The parts that `config` asks for, written out once more.
inline LoupeShape tiny_loupe_shape(const LoupeConfig& config, const ModelConfig& model, std::int64_t cells) {
  LoupeShape shape{.temperature = config.temperature,
                   .learn_temperature = config.learn_temperature,
                   .attention_pool = config.image_feature == "attention"};
  if (config.tokens.weight == 0 && config.phrases.weight == 0) return shape;
  shape.region_hidden = config.regions.hidden;
  shape.least_region = config.regions.least;
  shape.pooled_confidence = config.regions.confidence == "pooled";
  if (config.unsil.type == "none") return shape;
  const std::int64_t d = model.embed_dim, heads = config.unsil.heads;
  shape.network = config.unsil.type;
  if (config.tokens.weight > 0)
    shape.tokens = {.width = d, .target_width = d, .image_tokens = cells, .text_tokens = kLoupeContext, .heads = heads};
  if (config.unsil.level == "both") {
    shape.phrases = {.width = d,
                     .target_width = 2 * d,
                     .image_tokens = config.regions.count,
                     .text_tokens = config.phrases.most,
                     .heads = heads};
  }
  return shape;
}

/// A model of its own with the weights of `state`, in evaluation mode.
inline std::unique_ptr<LoupeModel> loupe_copy(const LoupeConfig& config, const std::map<std::string, at::Tensor>& state,
                                              const ModelConfig& model = tiny_loupe_model(), std::int64_t cells = 16) {
  auto copy = std::make_unique<LoupeModel>(model, tiny_loupe_shape(config, model, cells), in_fp64().initializer());
  copy->to(at::kCPU, at::kDouble);
  copy->set_training(false);
  const c10::NoGradGuard no_grad;
  for (auto& [name, tensor] : copy->parameters()) tensor.copy_(state.at(name));
  return copy;
}

}  // namespace triptych
