// Hashes the state in four groups, so that a difference says where to look.
#include "core/train/step_record.h"

#include <ATen/ATen.h>

#include <cstdio>

#include "core/base/hash.h"
#include "core/module/tensor_hash.h"

namespace triptych {
namespace {

/// "0x1.8p+1": every bit of a double, readable by C, C++ and Python.
std::string hex(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%a", value);
  return text;
}

class GroupedHash : public StateVisitor {
 public:
  explicit GroupedHash(const std::set<std::string>& model_names) : model_names_(model_names) {}
  void tensor(const std::string& name, at::Tensor& tensor) override { group(name).tensor(name, tensor); }
  void integer(const std::string& name, std::int64_t& value) override { group(name).integer(name, value); }
  void real(const std::string& name, double& value) override { group(name).real(name, value); }
  void text(const std::string& name, std::string& value) override { group(name).text(name, value); }
  StateHash model, optimizer, evaluation, rest;

 private:
  StateHash& group(const std::string& name) {
    if (model_names_.contains(name)) return model;
    if (name.starts_with("optimizer.")) return optimizer;
    return name.starts_with("eval.") ? evaluation : rest;
  }
  const std::set<std::string>& model_names_;
};

}  // namespace

at::Tensor sample_ids_of(const std::vector<Batch>& micro_batches) {
  std::vector<at::Tensor> ids;
  for (const auto& batch : micro_batches) ids.push_back(batch.sample_ids);
  return at::cat(ids);
}

nlohmann::ordered_json step_record(const StepReport& report, const at::Tensor& global_sample_ids,
                                   const VisitState& visit, const std::set<std::string>& model_names) {
  GroupedHash hash(model_names);
  visit(hash);
  return {{"step", report.step},
          {"position", report.first_position},
          {"loss", hex(report.loss)},
          {"grad_norm", hex(report.grad_norm)},
          {"lr", hex(report.lr)},
          {"skipped", report.verdict != Verdict::kTake},
          {"parameters", hash_text(hash.model.value())},
          {"optimizer", hash_text(hash.optimizer.value())},
          {"state", hash_text(hash.rest.value())},
          {"evaluation", hash_text(hash.evaluation.value())},
          {"samples", hash_text(tensor_hash(global_sample_ids))}};
}

}  // namespace triptych
