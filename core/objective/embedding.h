// Small steps that several objectives share.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <span>
#include <string>

#include "core/model/model_config.h"
#include "core/module/module.h"
#include "core/types/batch.h"
#include "losses/class_ids.h"
#include "losses/loss_output.h"

namespace triptych {

/// Rows of unit length, [..., d] -> the same, computed and returned in `dtype` (autocast may have left less).
at::Tensor unit_rows(const at::Tensor& rows, at::ScalarType dtype);

/// Labels of all micro-batches on `device`: int64 [b].
at::Tensor all_labels(std::span<const Batch> micro_batches, at::Device device);

/// The same with the second labels of mixed rows.
RowLabels all_row_labels(std::span<const Batch> micro_batches, at::Device device);

/// Throws ConfigError if the corpora have no labels, which `who` ("objective.name: supcon") needs.
void check_labelled(const CorpusFacts& facts, const std::string& who);

/// Throws ConfigError if data.captions asks for several texts a picture, which `who` does not use.
void check_no_captions(const CorpusFacts& facts, const std::string& who);

/// "objective.name: supcon".
std::string objective_named(const char* tag);

/// Adds a micro-batch's loss, weighted by its share of the local rows.
void add_share(LossReport& report, const LossOutput& loss, double share);

/// Height = width of the pictures that the image tower takes.
std::int64_t image_size(const ModelConfig& model);

/// Side of the grid of the image tower's last cells; 0: it has none.
std::int64_t image_grid(const ModelConfig& model);

/// What the text tower wants of the tokenizer; nothing: it embeds labels.
std::optional<TextForm> text_form(const ModelConfig& model);

/// Evaluation mode without gradients while it lives; the module's mode is left as it was.
class EvaluationMode {
 public:
  explicit EvaluationMode(Module& module);
  ~EvaluationMode();
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  Module& module_;
  bool was_training_, was_grad_;
};

}  // namespace triptych
