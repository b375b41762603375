// Selections are arithmetic on whole tensors: no count is read back, so nothing waits for the device.
#include "losses/masked_words.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "losses/known_gradients.h"

namespace triptych {
namespace {

constexpr std::int64_t kWordRows = 256;

void check_shapes(const at::Tensor& student_nv, const at::Tensor& target_n, const at::Tensor& teacher_nv,
                  double alpha) {
  TORCH_CHECK(student_nv.dim() == 2 && student_nv.size(1) > 0 && student_nv.is_floating_point(),
              "logits of the student must be [n, v > 0], got ", student_nv.scalar_type(), " ", student_nv.sizes());
  TORCH_CHECK(target_n.scalar_type() == at::kLong && target_n.dim() == 1 && target_n.size(0) == student_nv.size(0),
              "targets must be int64 [", student_nv.size(0), "], got ", target_n.scalar_type(), " ", target_n.sizes());
  TORCH_CHECK(alpha >= 0 && alpha <= 1, "alpha must be in [0, 1], got ", alpha);
  TORCH_CHECK(alpha == 0 ||
                  (teacher_nv.defined() && teacher_nv.is_floating_point() && teacher_nv.sizes() == student_nv.sizes()),
              "alpha ", alpha, " needs logits of a teacher of shape ", student_nv.sizes());
}

/// The loss and its derivative.
struct WordLoss {
  at::Tensor value, by_student_nv;
};

WordLoss derive(const at::Tensor& student_nv, const at::Tensor& target_n, const at::Tensor& teacher_nv, double alpha) {
  const c10::NoGradGuard no_grad;
  const auto type = student_nv.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor value = at::zeros({}, student_nv.options().dtype(at::kDouble));
  // Half precision would lose what the loss scale is there to keep: it multiplies later.
  const auto kept = student_nv.scalar_type() == at::kHalf ? at::kFloat : student_nv.scalar_type();
  at::Tensor by_student_nv = at::empty(student_nv.sizes(), student_nv.options().dtype(kept));
  for (std::int64_t row = 0; row < student_nv.size(0); row += kWordRows) {
    const std::int64_t rows = std::min(kWordRows, student_nv.size(0) - row);
    const at::Tensor target = target_n.narrow(0, row, rows).unsqueeze(1);
    at::Tensor log_share = student_nv.narrow(0, row, rows).log_softmax(1, type), taught;
    value -= (1 - alpha) * log_share.gather(1, target).sum(at::kDouble);
    if (alpha > 0) {
      taught = teacher_nv.narrow(0, row, rows).to(type).softmax(1).mul_(alpha);
      value -= (taught * log_share).sum({1}).sum(at::kDouble);
    }
    at::Tensor gradient = log_share.exp_();
    if (alpha > 0) gradient.sub_(taught);
    gradient.scatter_add_(1, target, at::full({rows, 1}, alpha - 1, gradient.options()));
    by_student_nv.narrow(0, row, rows).copy_(gradient);
  }
  return {value.to(type), by_student_nv};
}

}  // namespace

MaskedWords mask_words(const at::Tensor& tokens_bl, const MaskDraws& draws, double probability, const WordIds& ids) {
  TORCH_CHECK(tokens_bl.scalar_type() == at::kLong && tokens_bl.dim() == 2, "tokens must be int64 [b, l], got ",
              tokens_bl.scalar_type(), " ", tokens_bl.sizes());
  for (const auto* draw : {&draws.chosen, &draws.replace, &draws.random, &draws.word}) {
    TORCH_CHECK(draw->defined() && draw->is_floating_point() && draw->sizes() == tokens_bl.sizes(),
                "each of the four draws must be floating point ", tokens_bl.sizes());
  }
  TORCH_CHECK(probability >= 0 && probability <= 1, "the probability must be in [0, 1], got ", probability);
  TORCH_CHECK(ids.vocabulary > 0, "the vocabulary must have words, got ", ids.vocabulary);
  at::Tensor chosen = draws.chosen < probability;
  for (const auto id : {ids.pad, ids.start, ids.end}) chosen = chosen.logical_and_(tokens_bl != id);
  // In fp64: fp32 would round some products up to the next word, the largest beyond the last.
  const at::Tensor word = draws.word.to(at::kDouble).mul_(ids.vocabulary).to(at::kLong).clamp_(0, ids.vocabulary - 1);
  const at::Tensor other = at::where(draws.random < 0.5, word, tokens_bl);
  const at::Tensor hidden = other.masked_fill(draws.replace < 0.8, ids.mask);
  return {at::where(chosen, hidden, tokens_bl), chosen};
}

at::Tensor masked_word_loss(const at::Tensor& student_nv, const at::Tensor& target_n, const at::Tensor& teacher_nv,
                            double alpha) {
  check_shapes(student_nv, target_n, teacher_nv, alpha);
  const WordLoss d = derive(student_nv, target_n, teacher_nv, alpha);
  return with_known_gradients(d.value, {{student_nv, d.by_student_nv}});
}

}  // namespace triptych
