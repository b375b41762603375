// Features of both corpora, the choice of the penalty, the final fit.
#include "core/eval/linear_probe.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "core/base/errors.h"
#include "core/base/log.h"
#include "core/base/strings.h"
#include "core/eval/class_match.h"
#include "core/eval/gather_rows.h"
#include "core/eval/logistic_regression.h"

namespace triptych {
namespace {

constexpr std::int64_t kFold = 5;    // every fifth picture of the bank chooses the penalty
constexpr double kTolerance = 1e-4;  // of the gradient, as scikit-learn; the loss is a few units at most

/// All ranks' rows of a corpus in the order of its records. `classes`: what each class of the corpus is called in the
/// bank. Undefined tensors if no record is usable.
struct Features {
  at::Tensor rows_nd, class_n;
  std::int64_t unusable = 0;  ///< of this rank
};

Features read_features(const HeldOut& corpus, const std::vector<std::int64_t>& classes, const Encoders& encoders,
                       EvalScope& scope) {
  std::vector<at::Tensor> rows, labels;
  const auto class_of = at::tensor(classes, at::kLong);
  Features features;
  features.unusable = corpus.for_each_block(scope, [&](const EvalRows& block) {
    rows.push_back(as_float(encoders.features(block.images)));
    labels.push_back(class_of.index_select(0, block.labels));
  });
  features.rows_nd = gather_rows(rows, scope.device, scope.comm);
  features.class_n = gather_rows(labels, at::kCPU, scope.comm);
  corpus.require_rows(features.class_n.defined() ? features.class_n.numel() : 0);
  features.rows_nd = features.rows_nd.to(at::kDouble);
  features.class_n = features.class_n.to(scope.device);
  return features;
}

std::vector<std::int64_t> own_classes(const Corpus& corpus) {
  std::vector<std::int64_t> classes(corpus.class_names().size());
  for (std::size_t i = 0; i < classes.size(); ++i) classes[i] = static_cast<std::int64_t>(i);
  return classes;
}

LogisticModel fit(const std::string& probe, const LogisticRows& rows, double l2) {
  auto model = fit_logistic(rows, l2, kTolerance);
  if (!model.converged) {
    log_warning("eval " + probe + ": with l2 " + number_text(l2) + " the fit stopped at a gradient of " +
                number_text(model.gradient) + ", not " + number_text(kTolerance) + "; leave out small penalties");
  }
  return model;
}

struct Choice {
  double l2 = 0, top1 = 0;  ///< of the validation rows
};

/// Collective: each rank tries its share of the penalties.
Choice choose_penalty(const std::string& probe, const LogisticRows& bank, const std::vector<double>& l2,
                      Collectives& comm) {
  const auto fifth_n = at::arange(bank.class_n.numel(), bank.class_n.options()).remainder(kFold).eq(kFold - 1);
  const auto chosen = fifth_n.nonzero().squeeze(1), others = fifth_n.logical_not().nonzero().squeeze(1);
  const LogisticRows rows = {bank.features_nd.index_select(0, others), bank.class_n.index_select(0, others),
                             bank.classes};
  const auto test_md = bank.features_nd.index_select(0, chosen);
  const auto class_m = bank.class_n.index_select(0, chosen);

  auto right = at::zeros({static_cast<std::int64_t>(l2.size())}, at::kLong);
  for (auto i = static_cast<std::size_t>(comm.rank()); i < l2.size(); i += static_cast<std::size_t>(comm.size())) {
    const auto place_m = place_of_own(fit(probe, rows, l2[i]).scores(test_md), class_m);
    right[static_cast<std::int64_t>(i)] = place_m.eq(0).sum().item<std::int64_t>();
  }
  comm.all_reduce_sum(right);
  const auto* counts = right.const_data_ptr<std::int64_t>();
  const auto best = std::max_element(counts, counts + l2.size());  // the first: the largest penalty
  return {l2[static_cast<std::size_t>(best - counts)],
          static_cast<double>(*best) / static_cast<double>(class_m.numel())};
}

}  // namespace

LinearProbe::LinearProbe(const LinearProbeConfig& config, std::unique_ptr<Corpus> corpus, std::unique_ptr<Corpus> bank,
                         const DecodeConfig& decode)
    : name_(config.label.empty() ? LinearProbeConfig::kTag : config.label),
      l2_(config.l2),
      held_out_(std::move(corpus), decode, "image_label", name_),
      bank_(std::move(bank), decode, "image_label", name_),
      bank_class_of_(match_classes(
          held_out_.corpus().class_names(), bank_.corpus().class_names(),
          "eval " + name_ + ": corpus '" + config.corpus.path + "' and bank '" + config.bank.path + "'")) {
  std::sort(l2_.begin(), l2_.end(), std::greater<>());
  if (bank_.corpus().size() < kFold) {
    throw ConfigError("eval " + name_ + ": the bank holds " + std::to_string(bank_.corpus().size()) +
                      " records; at least " + std::to_string(kFold) + " are needed, to choose the penalty");
  }
}

std::vector<Metric> LinearProbe::run(const Encoders& encoders, EvalScope& scope) {
  const auto bank = read_features(bank_, own_classes(bank_.corpus()), encoders, scope);
  const auto held_out = read_features(held_out_, bank_class_of_, encoders, scope);

  // A feature that is not a number says nothing; a held-out row that has one gets no finite score and is wrong.
  const auto known_nd = at::nan_to_num(bank.rows_nd, 0, 0, 0);
  const auto mean_d = known_nd.mean(0);
  const auto deviation_d = known_nd.std(0, /*unbiased=*/false);
  const auto scale_d = at::where(deviation_d.gt(0), deviation_d.reciprocal(), at::ones_like(deviation_d));
  const auto classes = static_cast<std::int64_t>(bank_.corpus().class_names().size());
  const LogisticRows rows = {(known_nd - mean_d) * scale_d, bank.class_n, classes};

  const auto choice = choose_penalty(name_, rows, l2_, scope.comm);
  TopCounts counts(classes);
  if (scope.comm.rank() == 0) {
    counts.add(fit(name_, rows, choice.l2).scores((held_out.rows_nd - mean_d) * scale_d), held_out.class_n);
  }
  counts.reduce(scope.comm);
  auto metrics = counts.metrics();
  metrics.push_back({"unusable", static_cast<double>(scope.comm.sum(bank.unusable + held_out.unusable))});
  metrics.push_back({"bank", static_cast<double>(bank.class_n.numel())});
  metrics.push_back({"l2", choice.l2});
  metrics.push_back({"validation_top1", choice.top1});
  return metrics;
}

}  // namespace triptych
