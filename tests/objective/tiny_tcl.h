// A tiny model for TCL, a batch for it, and its state.
#pragma once
#include <c10/core/GradMode.h>

#include <map>
#include <string>

#include "core/objective/tcl.h"
#include "tests/objective/tiny.h"

namespace triptych {

inline constexpr std::int64_t kTokens = 7, kQueueRows = 20, kStep = 4;  // half of the epoch in which alpha rises
inline constexpr std::int64_t kWordCount = 40;

inline ModelConfig tiny_fusion_model() {
  ModelConfig model;
  model.image = VitConfig{.image_size = 8, .patch_size = 2, .width = 12, .depth = 2, .heads = 3, .form = "timm"};
  model.text = BertConfig{.context = kTokens,
                          .width = 8,
                          .depth = 1,
                          .heads = 2,
                          .vocabulary = kWordCount,
                          .dropout = 0,
                          .positions = 9,
                          .end_token = false};
  model.fusion = FusionConfig{.depth = 2};
  model.embed_dim = 6;
  return model;
}

inline TclConfig tiny_tcl(const std::string& negatives = "local", const std::string& positives = "pair") {
  TclConfig config;
  config.queue = kQueueRows;
  config.lmi.cells = 2;
  config.negatives = negatives;
  config.positives = positives;
  config.mean = negatives == "local" ? "rank" : "global";
  config.start_word = 2;
  config.end_word = 3;
  config.mask_word = 4;
  return config;
}

/// Two views, captions of 0 to 6 words behind the start, some with labels.
inline Batch fusion_batch() {
  Batch batch = global_batch();
  batch.tokens = (draw({31}, {kRows, 1, kTokens}).abs() * 12).to(at::kLong).clamp(5, kWordCount - 1);
  batch.tokens.select(2, 0).fill_(2);
  for (std::int64_t i = 0; i < kRows; ++i) {
    const std::int64_t length = 1 + (i * 5) % kTokens;
    batch.tokens[i][0].narrow(0, length, kTokens - length).fill_(0);
  }
  return batch;
}

/// All of an objective's state by name, as copies; whole numbers as scalars.
inline std::map<std::string, at::Tensor> state_tensors(Objective& objective) {
  struct Reader : StateVisitor {
    std::map<std::string, at::Tensor> tensors;
    void tensor(const std::string& name, at::Tensor& tensor) override { tensors[name] = tensor.detach().clone(); }
    void integer(const std::string& name, std::int64_t& number) override {
      tensors[name] = at::scalar_tensor(number, at::kLong);
    }
    void real(const std::string&, double&) override {}
    void text(const std::string&, std::string&) override {}
  } reader;
  objective.visit_state(reader);
  return reader.tensors;
}

/// Copies of the objective's student, teacher and queues.
struct Copies {
  FusionModel student;
  AlignedEncoders teacher;
  at::Tensor image_queue, text_queue, queue_labels;
  std::int64_t next = 0;  ///< of the queues

  explicit Copies(Objective& objective, const ModelConfig& model = tiny_fusion_model())
      : student(model, 0.07, Initializer(1, "", at::kCPU)), teacher(model, Initializer(1, "", at::kCPU)) {
    student.to(at::kCPU, at::kDouble);
    teacher.to(at::kCPU, at::kDouble);
    const auto tensors = state_tensors(objective);
    const c10::NoGradGuard no_grad;
    for (auto& [name, tensor] : student.parameters()) tensor.copy_(tensors.at(name));
    for (auto& [name, tensor] : teacher.parameters()) tensor.copy_(tensors.at("momentum." + name));
    teacher.requires_grad(false);
    image_queue = tensors.at("queue.image");
    text_queue = tensors.at("queue.text");
    queue_labels = tensors.at("queue.labels");
  }

  /// What begins a step.
  void follow(double momentum) {
    const c10::NoGradGuard no_grad;
    student.temperature().clamp_(0.001, 0.5);
    std::map<std::string, at::Tensor> own;
    for (const auto& [name, tensor] : student.parameters()) own[name] = tensor;
    for (auto& [name, tensor] : teacher.parameters()) tensor.copy_(momentum * tensor + (1 - momentum) * own.at(name));
  }
  /// `before` rows entered earlier: row by row, one place on.
  void push(std::int64_t before, const at::Tensor& image, const at::Tensor& text, const at::Tensor& labels) {
    const c10::NoGradGuard no_grad;
    for (std::int64_t i = 0; i < labels.size(0); ++i) {
      const std::int64_t place = (before + i) % kQueueRows;
      image_queue[place] = image[i];
      text_queue[place] = text[i];
      queue_labels[place] = labels[i];
    }
    next = (before + labels.size(0)) % kQueueRows;
  }
  /// Named as the objective's.
  std::map<std::string, at::Tensor> state() {
    std::map<std::string, at::Tensor> all = {{"queue.image", image_queue.clone()},
                                             {"queue.text", text_queue.clone()},
                                             {"queue.labels", queue_labels.clone()},
                                             {"queue.next", at::scalar_tensor(next, at::kLong)}};
    for (const auto& [name, tensor] : student.parameters()) all[name] = tensor.detach().clone();
    for (const auto& [name, tensor] : teacher.parameters()) all["momentum." + name] = tensor.detach().clone();
    return all;
  }
};

/// A teacher that is not the student, so that it shows which of the two is used where.
inline void disturb_teacher(Objective& objective) {
  struct Disturb : StateVisitor {
    std::uint64_t key = 0;
    void tensor(const std::string& name, at::Tensor& tensor) override {
      const c10::NoGradGuard no_grad;
      if (name.starts_with("momentum.")) tensor.add_(draw({71, ++key}, tensor.sizes()), 0.03);
    }
    void integer(const std::string&, std::int64_t&) override {}
    void real(const std::string&, double&) override {}
    void text(const std::string&, std::string&) override {}
  } visitor;
  objective.visit_state(visitor);
}

}  // namespace triptych
