// Phrases against the regions of their picture.
#include "core/eval/grounding.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "core/base/errors.h"
#include "core/eval/activation_boxes.h"
#include "core/eval/box_candidates.h"
#include "core/eval/box_metrics.h"
#include "core/eval/gather_rows.h"
#include "core/eval/text_rows.h"

namespace triptych {
namespace {

/// Words, and what they name in one picture.
struct NamedBoxes {
  std::string words;
  std::vector<RealBox> boxes;
};

/// In the order in which the file names them first.
std::vector<NamedBoxes> phrases_of(const std::vector<CocoObject>& objects) {
  std::vector<NamedBoxes> phrases;
  for (const auto& object : objects) {
    if (object.phrase.empty()) continue;
    auto same = std::find_if(phrases.begin(), phrases.end(), [&](const auto& p) { return p.words == object.phrase; });
    if (same == phrases.end()) same = phrases.insert(phrases.end(), {object.phrase, {}});
    same->boxes.push_back(object.box);
  }
  return phrases;
}

double best_overlap(const RealBox& box, const std::vector<RealBox>& truths) {
  double best = 0;
  for (const auto& truth : truths) best = std::max(best, box_iou(box, truth));
  return best;
}

/// What one phrase brings; `chance` is the share of blind picks that are right.
struct Grounded {
  double iou = 0, pointing = 0, chance = 0;
};

constexpr double kRightOverlap = 0.5, kNearOverlap = 0.3;

/// cosine_M: of the regions, or of the cells where there are no regions.
Grounded ground(const std::vector<RealBox>& truths, std::span<const double> cosine_M,
                const std::vector<RealBox>& regions, double threshold) {
  const auto right = [&](const RealBox& box) { return best_overlap(box, truths) >= kRightOverlap; };
  const bool activation = regions.empty();
  Grounded result;
  result.chance = activation ? right({0, 0, 1, 1})
                             : static_cast<double>(std::count_if(regions.begin(), regions.end(), right)) /
                                   static_cast<double>(regions.size());
  if (!std::all_of(cosine_M.begin(), cosine_M.end(), [](double value) { return std::isfinite(value); })) return result;
  const auto best = std::max_element(cosine_M.begin(), cosine_M.end()) - cosine_M.begin();
  const auto box = activation ? activation_box(cosine_M, threshold) : regions[static_cast<std::size_t>(best)];
  result.iou = best_overlap(box, truths);
  result.pointing =
      std::any_of(truths.begin(), truths.end(), [&](const RealBox& truth) { return centre_inside(box, truth); });
  return result;
}

at::Tensor as_rows(const std::vector<Grounded>& results) {
  auto rows = at::empty({static_cast<std::int64_t>(results.size()), 3}, at::kDouble);
  auto* value = rows.mutable_data_ptr<double>();
  for (const auto& result : results) {
    *value++ = result.iou;
    *value++ = result.pointing;
    *value++ = result.chance;
  }
  return rows;
}

struct GroundedSums {
  double right = 0, near = 0, iou = 0, pointing = 0, chance = 0;
};

/// One by one in record order: at::sum would add in another order on another number of threads.
GroundedSums sums_of(const at::Tensor& rows) {
  GroundedSums sums;
  const auto* value = rows.const_data_ptr<double>();
  for (std::int64_t i = 0; i < rows.size(0); ++i, value += 3) {
    sums.right += value[0] >= kRightOverlap;
    sums.near += value[0] >= kNearOverlap;
    sums.iou += value[0];
    sums.pointing += value[1];
    sums.chance += value[2];
  }
  return sums;
}

}  // namespace

Grounding::Grounding(const GroundingConfig& config, std::unique_ptr<Corpus> corpus, const DecodeConfig& decode)
    : name_(config.label.empty() ? GroundingConfig::kTag : config.label),
      proposals_(config.proposals),
      threshold_(config.threshold),
      held_out_(std::move(corpus), decode, "image_text", name_),
      boxes_(config.boxes, held_out_.corpus(), decode, name_) {
  for (std::int64_t record = 0; record < boxes_.records(); ++record) {
    if (!phrases_of(boxes_.picture(record).objects).empty()) return;
  }
  throw ConfigError("eval " + name_ + ": " + boxes_.path() +
                    " names no phrase of any picture of the corpus; annotations with tokens_positive are expected");
}

Needs Grounding::needs() const {
  return {.text = true, .patches = proposals_ == "activation", .regions = proposals_ == "regions"};
}

std::vector<std::string> Grounding::metric_names() const {
  return {"accuracy_50", "accuracy_30", "mean_iou", "pointing", "chance", "phrases", "samples", "dropped", "unusable"};
}

std::vector<Metric> Grounding::run(const Encoders& encoders, EvalScope& scope) {
  const auto tokenizer = make_tokenizer(scope.text.tokenizer, scope.text.clean);
  std::vector<at::Tensor> pieces;
  std::int64_t samples = 0, dropped = 0;
  std::int64_t unusable = held_out_.for_each_block(scope, [&](const EvalRows& rows) {
    std::vector<std::vector<NamedBoxes>> pictures;
    std::vector<std::string> texts;
    for (std::int64_t row = 0; row < rows.records.numel(); ++row) {
      const auto seen = boxes_.seen(rows, row, scope.image_size);
      dropped += seen.dropped;
      pictures.push_back(phrases_of(seen.objects));
      samples += !pictures.back().empty();
      for (const auto& phrase : pictures.back()) texts.push_back(phrase.words);
    }
    if (texts.empty()) return;
    const auto text_Td = encode_texts(texts, *tokenizer, encoders, scope);
    const auto candidates = box_candidates(proposals_, encoders, rows.images);
    std::vector<Grounded> results;
    std::int64_t first = 0;
    for (std::size_t picture = 0; picture < pictures.size(); ++picture) {
      const auto& phrases = pictures[picture];
      const auto last = first + static_cast<std::int64_t>(phrases.size());
      const auto cosine_PM = candidate_cosines(text_Td.slice(0, first, last),
                                               candidates.embedding_nMd[static_cast<std::int64_t>(picture)]);
      first = last;
      const auto width = static_cast<std::size_t>(cosine_PM.size(1));
      const auto regions = candidates.boxes.empty() ? std::vector<RealBox>{} : candidates.boxes[picture];
      for (std::size_t i = 0; i < phrases.size(); ++i) {
        const std::span cosine_M(cosine_PM.const_data_ptr<double>() + i * width, width);
        results.push_back(ground(phrases[i].boxes, cosine_M, regions, threshold_));
      }
    }
    pieces.push_back(as_rows(results));
  });
  const auto all = gather_rows(pieces, at::kCPU, scope.comm);
  unusable = scope.comm.sum(unusable);
  samples = scope.comm.sum(samples);
  dropped = scope.comm.sum(dropped);
  if (!all.defined())
    throw DataBudgetError("eval " + name_ + ": no phrase of " + boxes_.path() +
                          " is left: " + std::to_string(unusable) + " records cannot be used, " +
                          std::to_string(dropped) + " objects are cut away by the view");
  const auto count = static_cast<double>(all.size(0));
  const auto sums = sums_of(all);
  return {{"accuracy_50", sums.right / count},
          {"accuracy_30", sums.near / count},
          {"mean_iou", sums.iou / count},
          {"pointing", sums.pointing / count},
          {"chance", sums.chance / count},
          {"phrases", count},
          {"samples", static_cast<double>(samples)},
          {"dropped", static_cast<double>(dropped)},
          {"unusable", static_cast<double>(unusable)}};
}

}  // namespace triptych
