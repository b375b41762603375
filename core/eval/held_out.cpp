// Walks a held-out corpus in blocks that do not depend on the number of ranks.
#include "core/eval/held_out.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "core/base/errors.h"
#include "core/eval/gather_rows.h"
#include "data/image/decode.h"
#include "distributed/launcher/progress.h"

namespace triptych {

HeldOut::HeldOut(std::unique_ptr<Corpus> corpus, DecodeConfig decode, const std::string& kind,
                 const std::string& evaluator)
    : corpus_(std::move(corpus)), decode_(std::move(decode)) {
  const auto& config = corpus_->config();
  if (config.kind != kind) {
    throw ConfigError("eval " + evaluator + ": corpus '" + config.path + "' is of kind " + config.kind + "; " +
                      evaluator + " needs " + kind + ": set eval.corpus.kind, or name another corpus");
  }
  require_usable_start();
}

void HeldOut::require_usable_start() const {
  constexpr std::int64_t kLooked = 1000;
  std::string reason;
  for (std::int64_t i = 0; i < std::min(corpus_->size(), kLooked); ++i) {
    try {
      decode_image(corpus_->read(i).image, decode_);
      return;
    } catch (const DataError& error) {
      if (reason.empty()) reason = error.what();
    }
  }
  throw ConfigError("evaluation corpus '" + corpus_->config().path + "': none of its first " +
                    std::to_string(std::min(corpus_->size(), kLooked)) + " records can be used, the first: " + reason);
}

EvalRows HeldOut::read_block(const EvalScope& scope, std::int64_t block) const {
  const std::int64_t first = block * scope.batch, last = std::min(first + scope.batch, corpus_->size());
  auto rows = read_eval_rows(*corpus_, first, last, scope.image_size, decode_, scope.workers);
  if (rows.records.numel() > 0) rows.images = rows.images.to(scope.device);
  return rows;
}

std::int64_t HeldOut::for_each_block(const EvalScope& scope, const std::function<void(const EvalRows&)>& use) const {
  const auto blocks = rank_blocks(corpus_->size(), scope.batch, scope.comm.rank(), scope.comm.size());
  std::int64_t unusable = 0;
  for (std::int64_t block = blocks.first; block < blocks.last; ++block) {
    const auto rows = read_block(scope, block);
    ProgressBoard::of_process().beat();
    unusable += rows.unusable;
    if (rows.records.numel() > 0) use(rows);
  }
  return unusable;
}

void HeldOut::require_rows(std::int64_t usable) const {
  if (usable > 0) return;
  throw DataBudgetError("evaluation corpus '" + corpus_->config().path + "': none of its " +
                        std::to_string(corpus_->size()) +
                        " records can be used; `triptych data verify` names the reasons");
}

at::Tensor as_float(const at::Tensor& embeddings) {
  return embeddings.scalar_type() == at::kDouble ? embeddings : embeddings.to(at::kFloat);
}

}  // namespace triptych
