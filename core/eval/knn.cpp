// Streams the bank past all queries and keeps each query's k best.
#include "core/eval/knn.h"

#include <ATen/ATen.h>

#include <utility>

#include "core/base/errors.h"
#include "core/eval/class_match.h"
#include "core/eval/gather_rows.h"
#include "core/eval/top_counts.h"

namespace triptych {
namespace {

/// The best so far of Q queries: similarities descending, and the classes they vote for. Equal similarities keep the
/// order they came in, which is the bank's.
struct Neighbours {
  at::Tensor similarity_Qk, label_Qk;

  void merge(const at::Tensor& similarity_Qm, const at::Tensor& label_Qm, std::int64_t k) {
    auto similarity = similarity_Qk.defined() ? at::cat({similarity_Qk, similarity_Qm}, 1) : similarity_Qm;
    const auto label = label_Qk.defined() ? at::cat({label_Qk, label_Qm}, 1) : label_Qm;
    const auto order = std::get<1>(similarity.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true)).slice(1, 0, k);
    similarity_Qk = similarity.gather(1, order);
    label_Qk = label.gather(1, order);
  }
};

/// All ranks' neighbours merged in rank order. Every rank takes part, also one whose share of the bank is empty.
Neighbours merge_ranks(const Neighbours& mine, std::int64_t queries, std::int64_t k, const EvalScope& scope) {
  // Transposed, a rank's rows are neighbours: ranks may hold different numbers of them.
  std::vector<at::Tensor> similarity, label;
  if (mine.similarity_Qk.defined()) {
    similarity.push_back(mine.similarity_Qk.t().contiguous());
    label.push_back(mine.label_Qk.t().contiguous());
  }
  const auto similarity_MQ = gather_rows(similarity, scope.device, scope.comm);
  const auto label_MQ = gather_rows(label, scope.device, scope.comm);
  Neighbours all;
  if (queries > 0 && similarity_MQ.defined()) all.merge(similarity_MQ.t(), label_MQ.t(), k);
  return all;
}

}  // namespace

Knn::Knn(const KnnConfig& config, std::unique_ptr<Corpus> corpus, std::unique_ptr<Corpus> bank,
         const DecodeConfig& decode)
    : name_(config.label.empty() ? KnnConfig::kTag : config.label),
      k_(config.k),
      temperature_(config.temperature),
      held_out_(std::move(corpus), decode, "image_label", name_),
      bank_(std::move(bank), decode, "image_label", name_),
      bank_class_of_(match_classes(
          held_out_.corpus().class_names(), bank_.corpus().class_names(),
          "eval " + name_ + ": corpus '" + config.corpus.path + "' and bank '" + config.bank.path + "'")) {
  if (bank_.corpus().size() < k_) {
    throw ConfigError("eval " + name_ + ": k " + std::to_string(k_) + " is more than the bank's " +
                      std::to_string(bank_.corpus().size()) + " records; lower k");
  }
}

std::vector<Metric> Knn::run(const Encoders& encoders, EvalScope& scope) {
  std::vector<at::Tensor> embeddings, classes;
  const auto class_of = at::tensor(bank_class_of_, at::kLong);
  std::int64_t unusable = held_out_.for_each_block(scope, [&](const EvalRows& rows) {
    embeddings.push_back(as_float(encoders.image(rows.images)));
    classes.push_back(class_of.index_select(0, rows.labels));
  });
  const auto query_Qd = gather_rows(embeddings, scope.device, scope.comm);
  const auto class_Q = gather_rows(classes, at::kCPU, scope.comm);
  const std::int64_t queries = class_Q.defined() ? class_Q.numel() : 0;
  held_out_.require_rows(queries);

  Neighbours mine;
  std::int64_t voters = 0;
  unusable += bank_.for_each_block(scope, [&](const EvalRows& rows) {
    const auto bank_md = as_float(encoders.image(rows.images));
    const auto label_m = rows.labels.to(scope.device);
    mine.merge(query_Qd.mm(bank_md.t()), label_m.expand({queries, label_m.numel()}), k_);
    voters += label_m.numel();
  });
  voters = scope.comm.sum(voters);
  bank_.require_rows(voters);
  const auto nearest = merge_ranks(mine, queries, k_, scope);

  const auto num_classes = static_cast<std::int64_t>(bank_.corpus().class_names().size());
  TopCounts counts(num_classes);
  const auto blocks = rank_blocks(queries, scope.batch, scope.comm.rank(), scope.comm.size());
  for (std::int64_t block = blocks.first; block < blocks.last; ++block) {
    const std::int64_t first = block * scope.batch, last = std::min(first + scope.batch, queries);
    // Subtracting the best similarity scales all votes of a row alike and keeps exp() finite.
    const auto similarity_nk = nearest.similarity_Qk.slice(0, first, last).to(at::kCPU, at::kDouble);
    const auto vote_nk = ((similarity_nk - similarity_nk.slice(1, 0, 1)) / temperature_).exp();
    const auto scores_nC = at::zeros({last - first, num_classes}, at::kDouble)
                               .scatter_add_(1, nearest.label_Qk.slice(0, first, last).cpu(), vote_nk);
    counts.add(scores_nC, class_Q.slice(0, first, last));
  }
  counts.reduce(scope.comm);
  auto metrics = counts.metrics();
  metrics.push_back({"unusable", static_cast<double>(scope.comm.sum(unusable))});
  metrics.push_back({"bank", static_cast<double>(voters)});
  return metrics;
}

}  // namespace triptych
