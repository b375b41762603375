// Image-text retrieval: is the right caption among the k nearest of a picture, and the right picture of a caption?
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/eval/eval_config.h"
#include "core/eval/held_out.h"

namespace triptych {

/// R@1, R@5, R@10 both ways over all pictures and captions of a corpus. A picture with several captions is right when
/// any of them is among the k nearest texts; every caption is a query of its own for pictures. Among equal scores the
/// lower index comes first, so a constant model scores chance. Memory: all embeddings on every rank, scores by block.
///
/// With `rerank` a fusion encoder scores that many candidates of each query again (rerank.h: its cost); all others
/// follow in the order of the first stage, whose numbers are the same bits with and without.
class Retrieval : public Evaluator {
 public:
  Retrieval(const RetrievalConfig& config, std::unique_ptr<Corpus> corpus, const DecodeConfig& decode);
  std::string name() const override { return name_; }
  Needs needs() const override { return {.text = true, .match = rerank_ > 0}; }
  std::vector<std::string> metric_names() const override;
  /// image_to_text_r1/r5/r10, text_to_image_r1/r5/r10, with `rerank` the same six with "_reranked" before the depth,
  /// samples (pictures), texts, chance (R@1 of a caption's picture picked blindly), unusable.
  std::vector<Metric> run(const Encoders& encoders, EvalScope& scope) override;

 private:
  std::string name_;
  std::int64_t rerank_;
  HeldOut held_out_;
};

/// Places, 0 = best, of each picture's best own caption among all captions: scores [n, texts] of pictures
/// [first_image, first_image + n), owner int64 [texts] = index of each caption's picture. [n] int64.
at::Tensor place_of_best_caption(const at::Tensor& scores_nT, const at::Tensor& owner_T, std::int64_t first_image);

}  // namespace triptych
