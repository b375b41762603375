// What is not valid is replaced before anything is computed of it: a NaN there would reach gradients through 0 * NaN.
#include "losses/fine_alignment.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <limits>

namespace triptych {
namespace {

constexpr double kNothing = -1e30;  ///< e^x is 0, and x * 0 is, unlike with -inf

at::ScalarType sum_type(const at::Tensor& of) {
  return of.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// Over the last axis, among valid ones.
at::Tensor min_max(const at::Tensor& x, const at::Tensor& valid, double where_same) {
  constexpr double endless = std::numeric_limits<double>::infinity();
  if (x.size(-1) == 0) return x.clone();
  const at::Tensor least = x.masked_fill(valid.logical_not(), endless).amin({-1}, true),
                   range = x.masked_fill(valid.logical_not(), -endless).amax({-1}, true) - least;
  // A range of NaN stays one.
  return at::where(range <= 0, at::full({}, where_same, x.options()), (x - least) / range);
}

at::Tensor normalised(const at::Tensor& value, const at::Tensor& valid, LabelForm form) {
  const c10::NoGradGuard no_grad;
  const at::Tensor absent = valid.logical_not(), x = value.detach().to(sum_type(value)).masked_fill(absent, 0);
  at::Tensor label;
  switch (form) {
    case LabelForm::kMinMax:
      label = min_max(x, valid, 0.5);
      break;
    case LabelForm::kPositiveMinMax:
      label = min_max(x.clamp_min(0), valid, 0);
      break;
    case LabelForm::kSigmoid:
      label = x.sigmoid();
      break;
    case LabelForm::kSoftmax:
      label = x.masked_fill(absent, kNothing).softmax(-1);
      break;
  }
  return label.masked_fill(absent, 0).to(value.scalar_type());
}

/// bool [n, 1, p]
at::Tensor valid_phrases(const at::Tensor& of_nmp, const at::Tensor& count_n) {
  TORCH_CHECK(of_nmp.dim() == 3 && of_nmp.is_floating_point(), "pairs must be floating point [n, m, p], got ",
              of_nmp.scalar_type(), " ", of_nmp.sizes());
  TORCH_CHECK(count_n.scalar_type() == at::kLong && count_n.dim() == 1 && count_n.size(0) == of_nmp.size(0),
              "counts of phrases must be int64 [", of_nmp.size(0), "], got ", count_n.scalar_type(), " ",
              count_n.sizes());
  const at::Tensor count = count_n.to(of_nmp.device());
  return (at::arange(of_nmp.size(2), count.options()) < count.unsqueeze(1)).unsqueeze(1);
}

}  // namespace

at::Tensor normalised_regions(const at::Tensor& value_nm, LabelForm form) {
  TORCH_CHECK(value_nm.dim() == 2 && value_nm.is_floating_point(), "interactions must be floating point [n, m], got ",
              value_nm.scalar_type(), " ", value_nm.sizes());
  return normalised(value_nm, at::ones(value_nm.sizes(), value_nm.options().dtype(at::kBool)), form);
}

at::Tensor normalised_pairs(const at::Tensor& value_nmp, const at::Tensor& count_n, LabelForm form) {
  const at::Tensor valid = valid_phrases(value_nmp, count_n).expand(value_nmp.sizes());
  return normalised(value_nmp.flatten(1), valid.flatten(1), form).view(value_nmp.sizes());
}

CountedLoss token_alignment_loss(const at::Tensor& logit_nm, const at::Tensor& label_nm, const at::Tensor& valid_n) {
  TORCH_CHECK(logit_nm.dim() == 2 && logit_nm.is_floating_point() && label_nm.is_floating_point() &&
                  label_nm.sizes() == logit_nm.sizes(),
              "confidences and labels must be floating point [n, m], got ", logit_nm.scalar_type(), " ",
              logit_nm.sizes(), " and ", label_nm.scalar_type(), " ", label_nm.sizes());
  TORCH_CHECK(!valid_n.defined() ||
                  (valid_n.scalar_type() == at::kBool && valid_n.dim() == 1 && valid_n.size(0) == logit_nm.size(0)),
              "valid pictures must be marked by bool [", logit_nm.size(0), "]");
  const auto type = sum_type(logit_nm);
  at::Tensor logit = logit_nm.to(type), label = label_nm.detach().to(logit.device(), type);
  std::int64_t pictures = logit.size(0);
  if (valid_n.defined()) {
    const at::Tensor absent = valid_n.to(logit.device()).logical_not().unsqueeze(1);
    logit = logit.masked_fill(absent, 0);
    label = label.masked_fill(absent, 0);
    pictures = valid_n.sum().item<std::int64_t>();
  }
  // -I' log s(x) - (1 - I') log(1 - s(x)) = max(x, 0) - I' x + log(1 + e^{-|x|})
  at::Tensor each = at::binary_cross_entropy_with_logits(logit, label, {}, {}, at::Reduction::None);
  if (valid_n.defined()) each = each * valid_n.to(logit.device(), type).unsqueeze(1);
  return {each.sum(), pictures * logit.size(1)};
}

CountedLoss semantic_alignment_loss(const at::Tensor& alike_nmp, const at::Tensor& label_nmp, const at::Tensor& count_n,
                                    SoftmaxOver over) {
  const at::Tensor valid = valid_phrases(alike_nmp, count_n), absent = valid.logical_not();
  TORCH_CHECK(label_nmp.is_floating_point() && label_nmp.sizes() == alike_nmp.sizes(), "labels must be floating point ",
              alike_nmp.sizes(), ", got ", label_nmp.scalar_type(), " ", label_nmp.sizes());
  const auto type = sum_type(alike_nmp);
  const at::Tensor alike = alike_nmp.to(type).masked_fill(absent, kNothing);
  const at::Tensor pairs = valid.sum({1, 2}, true).clamp_min(1) * alike.size(1);
  const at::Tensor weight = label_nmp.detach().to(alike.device(), type).masked_fill(absent, 0) / pairs;
  at::Tensor log_share = alike.log_softmax(2);
  if (over == SoftmaxOver::kBoth) log_share = (log_share + alike.log_softmax(1)) / 2;
  return {(weight * log_share).sum().neg(), count_n.gt(0).sum().item<std::int64_t>()};
}

}  // namespace triptych
