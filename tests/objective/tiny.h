// A tiny model with data, and the same model in one piece for reference.
#pragma once
#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <vector>

#include "core/model/dual_encoder.h"
#include "core/objective/objective_table.h"
#include "tests/support/tensors.h"
#include "tests/support/thread_ranks.h"

namespace triptych {

inline constexpr std::uint64_t kSeed = 3;
inline constexpr std::int64_t kRows = 12;  ///< of the global batch
inline constexpr double kClose = 1e-11;    ///< losses and gradients in fp64, computed in another order

inline ModelConfig tiny_model(double drop_path = 0) {
  VitConfig image;
  image.image_size = 8;
  image.patch_size = 4;
  image.width = 12;
  image.depth = 2;
  image.heads = 3;
  image.drop_path = drop_path;
  CausalTransformerConfig text;
  text.context = 7;
  text.width = 8;
  text.depth = 2;
  text.heads = 2;
  text.vocabulary = 40;
  ModelConfig model;
  model.image = image;
  model.text = text;
  model.embed_dim = 6;
  return model;
}

inline CorpusFacts tiny_facts() {
  CorpusFacts facts;
  facts.num_labels = 6;
  facts.records_per_epoch = 100;
  facts.steps_per_epoch = 8;
  return facts;
}

inline BuildContext in_fp64() {
  return {.seed = kSeed, .device = at::kCPU, .parameters = at::kDouble};
}
inline constexpr Computation kFp64{at::kDouble, at::kDouble};

/// The whole global batch: two views, unlabelled rows on every rank of 1 to 4 unless `labelled`.
inline Batch global_batch(bool labelled = false, std::int64_t captions = 1) {
  Batch batch;
  batch.images = (draw({21}, {kRows, 2, 8, 8, 3}) * 60 + 128).clamp(0, 255).to(at::kByte);
  batch.tokens = (draw({22}, {kRows, captions, 7}).abs() * 10).to(at::kLong).clamp(1, 37);
  for (std::int64_t i = 0; i < kRows; ++i) {
    for (std::int64_t c = 0; c < captions; ++c) {
      const std::int64_t end = 2 + (i + c) % 5;  // texts of different lengths
      batch.tokens[i][c][end] = 39;
      batch.tokens[i][c].narrow(0, end + 1, 6 - end).fill_(i % 2 == 0 ? 0 : 39);
    }
  }
  batch.labels = labelled ? at::tensor({4, 2, 2, 0, 1, 2, 5, 3, 0, 5, 2, 1}, at::kLong)
                          : at::tensor({-1, 2, 2, 0, -1, 2, 5, -1, 0, 5, 2, -1}, at::kLong);
  batch.sample_ids = at::arange(kRows, at::kLong);
  batch.first_position = 1000;
  return batch;
}

inline Batch rows(const Batch& batch, std::int64_t first, std::int64_t count) {
  Batch part;
  part.images = batch.images.narrow(0, first, count);
  part.tokens = batch.tokens.narrow(0, first, count);
  part.labels = batch.labels.narrow(0, first, count);
  if (batch.mix_weights.defined()) {
    part.other_labels = batch.other_labels.narrow(0, first, count);
    part.mix_weights = batch.mix_weights.narrow(0, first, count);
  }
  part.sample_ids = batch.sample_ids.narrow(0, first, count);
  part.first_position = batch.first_position + first;
  return part;
}

inline std::vector<Batch> cut(const Batch& batch, std::int64_t micro_batch) {
  std::vector<Batch> parts;
  for (std::int64_t first = 0; first < batch.images.size(0); first += micro_batch) {
    parts.push_back(rows(batch, first, micro_batch));
  }
  return parts;
}

using Gradients = std::map<std::string, at::Tensor>;

inline Gradients gradients_of(Module& module) {
  Gradients gradients;
  for (const auto& [name, parameter] : module.parameters()) {
    gradients[name] = parameter.grad().defined() ? parameter.grad().clone() : at::Tensor();
  }
  return gradients;
}

/// Largest difference over all parameters; infinity if one is missing.
inline double difference(const Gradients& a, const Gradients& b) {
  double most = a.size() == b.size() ? 0 : std::numeric_limits<double>::infinity();
  for (const auto& [name, gradient] : a) {
    const auto found = b.find(name);
    const bool both = found != b.end() && found->second.defined() && gradient.defined();
    most = std::max(most, both ? difference(gradient, found->second) : std::numeric_limits<double>::infinity());
  }
  return most;
}

struct StepResult {
  double loss = 0;      ///< mean over ranks
  Gradients gradients;  ///< after averaging; the same on every rank (checked by the caller through `spread`)
  double spread = 0;    ///< largest difference between ranks
};

/// One step of `size` ranks through the real GradientSync.
inline StepResult step_on_ranks(int size, std::int64_t micro_batch, const ObjectiveConfig& config,
                                const ModelConfig& model, const Batch& batch, SyncForm form = SyncForm::kReducer,
                                const Computation& computation = kFp64) {
  std::vector<double> losses(static_cast<std::size_t>(size));
  std::vector<Gradients> gradients(static_cast<std::size_t>(size));
  run_ranks(size, [&](Collectives& comm) {
    auto facts = tiny_facts();
    facts.captions = static_cast<int>(batch.tokens.size(1));
    const auto objective = make_objective(config, model, facts, in_fp64());
    std::vector<std::string> names;
    std::vector<at::Tensor> tensors;
    for (const auto& [name, tensor] : objective->module().parameters()) {
      names.push_back(name);
      tensors.push_back(tensor);
    }
    GradientSync sync(form, names, tensors, comm, {.first_bucket_bytes = 4000, .bucket_bytes = 16000});
    StepScope scope({.step = 5, .samples_seen = 1000, .epoch = 0}, kSeed, computation, comm, &sync);
    const std::int64_t b = kRows / size;
    const auto parts = cut(rows(batch, comm.rank() * b, b), micro_batch);
    sync.zero_grad();
    sync.before_forward();
    objective->begin_step(scope);
    const LossReport report = objective->accumulate(parts, scope);
    sync.finish();
    losses[static_cast<std::size_t>(comm.rank())] = report.total.item<double>();
    gradients[static_cast<std::size_t>(comm.rank())] = gradients_of(objective->module());
  });
  StepResult result;
  for (const double loss : losses) result.loss += loss / size;
  result.gradients = gradients[0];
  for (const auto& one : gradients) result.spread = std::max(result.spread, difference(one, gradients[0]));
  return result;
}

}  // namespace triptych
