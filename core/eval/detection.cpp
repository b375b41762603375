// Classes against the regions of every picture; verdicts are gathered, not boxes.
#include "core/eval/detection.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "core/base/errors.h"
#include "core/eval/activation_boxes.h"
#include "core/eval/box_candidates.h"
#include "core/eval/box_metrics.h"
#include "core/eval/gather_rows.h"
#include "core/eval/text_rows.h"
#include "data/text/prompts.h"

namespace triptych {
namespace {

constexpr std::array kOverlaps = {0.5, 0.3};
constexpr std::int64_t kColumns = 2 + kOverlaps.size();  // of a judged row: class, score, verdicts

struct Detected {
  std::int64_t category = 0;
  double score = 0;
  RealBox box;
};

/// `prompts` is a template, or what load_prompts takes.
std::vector<std::string> detection_templates(const std::string& prompts, const std::string& evaluator) {
  const auto place = prompts.find("{}");
  if (place == std::string::npos) return load_prompts(prompts);
  if (prompts.find("{}", place + 2) != std::string::npos)
    throw ConfigError("eval " + evaluator + ": prompts is '" + prompts +
                      "', expected a template with exactly one {} for the class name");
  return {prompts};
}

/// The scores by which detections of cosines_CM are ordered, [C, M].
at::Tensor scores_of(const at::Tensor& cosines_CM, const std::string& score, const Encoders& encoders) {
  if (score == "cosine") return cosines_CM;
  return (cosines_CM * encoders.scale->to(at::kCPU, at::kDouble)).softmax(0).contiguous();
}

/// Adds what one class finds in one picture. `regions`: none under activation.
void find_class(std::int64_t category, std::span<const double> cosine_M, std::span<const double> score_M,
                const std::vector<RealBox>& regions, const DetectionConfig& config, std::vector<Detected>& found) {
  const auto is_finite = [](double value) { return std::isfinite(value); };
  const bool finite = std::all_of(cosine_M.begin(), cosine_M.end(), is_finite) &&
                      std::all_of(score_M.begin(), score_M.end(), is_finite);
  if (!finite) {
    const Detected miss{category, std::numeric_limits<double>::infinity(), {}};  // no area: it meets nothing
    found.insert(found.end(), regions.empty() ? 1 : regions.size(), miss);
  } else if (regions.empty()) {
    const auto best = std::max_element(cosine_M.begin(), cosine_M.end()) - cosine_M.begin();
    found.push_back({category, score_M[static_cast<std::size_t>(best)], activation_box(cosine_M, config.threshold)});
  } else {
    for (const auto i : suppress(regions, score_M, config.nms)) found.push_back({category, score_M[i], regions[i]});
  }
}

/// The detections of one picture, best first.
std::vector<Detected> detect(const at::Tensor& cosine_CM, const at::Tensor& score_CM,
                             const std::vector<RealBox>& regions, const DetectionConfig& config) {
  std::vector<Detected> found;
  const auto width = static_cast<std::size_t>(cosine_CM.size(1));
  for (std::int64_t category = 0; category < cosine_CM.size(0); ++category) {
    const auto first = static_cast<std::size_t>(category) * width;
    find_class(category, {cosine_CM.const_data_ptr<double>() + first, width},
               {score_CM.const_data_ptr<double>() + first, width}, regions, config, found);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
  if (static_cast<std::int64_t>(found.size()) > config.most) found.resize(static_cast<std::size_t>(config.most));
  return found;
}

/// Judges one picture's detections: rows of kColumns, class by class.
void judge(const std::vector<Detected>& found, const std::vector<CocoObject>& objects, std::vector<double>& rows) {
  std::vector<std::int64_t> categories;
  for (const auto& one : found) categories.push_back(one.category);
  std::sort(categories.begin(), categories.end());
  categories.erase(std::unique(categories.begin(), categories.end()), categories.end());
  for (const auto category : categories) {
    std::vector<RealBox> boxes;
    std::vector<double> scores;
    std::vector<Truth> truths;
    for (const auto& one : found) {
      if (one.category != category) continue;
      boxes.push_back(one.box);
      scores.push_back(one.score);
    }
    for (const auto& object : objects) {
      if (static_cast<std::int64_t>(object.category) == category) truths.push_back({object.box, object.crowd});
    }
    std::array<std::vector<Verdict>, kOverlaps.size()> verdicts;
    for (std::size_t k = 0; k < kOverlaps.size(); ++k) verdicts[k] = match_boxes(boxes, truths, kOverlaps[k]);
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      rows.insert(rows.end(), {static_cast<double>(category), scores[i]});
      for (const auto& of_overlap : verdicts) rows.push_back(static_cast<double>(of_overlap[i]));
    }
  }
}

/// The mean over classes with positives. `judged`: [n, kColumns] in record order, undefined if nothing was found.
double mean_precision(const at::Tensor& judged, const at::Tensor& positives_C, std::size_t overlap) {
  std::vector<std::vector<Judged>> of_class(static_cast<std::size_t>(positives_C.numel()));
  const auto* row = judged.defined() ? judged.const_data_ptr<double>() : nullptr;
  for (std::int64_t i = 0; row != nullptr && i < judged.size(0); ++i, row += kColumns) {
    of_class[static_cast<std::size_t>(row[0])].push_back(
        {row[1], static_cast<Verdict>(static_cast<int>(row[2 + overlap]))});
  }
  double sum = 0;
  int present = 0;
  for (std::size_t category = 0; category < of_class.size(); ++category) {
    const auto positives = positives_C.const_data_ptr<std::int64_t>()[category];
    if (const auto precision = average_precision(std::move(of_class[category]), positives)) {
      sum += *precision;
      ++present;
    }
  }
  return sum / present;
}

}  // namespace

Detection::Detection(const DetectionConfig& config, std::unique_ptr<Corpus> corpus, const DecodeConfig& decode)
    : name_(config.label.empty() ? DetectionConfig::kTag : config.label),
      config_(config),
      templates_(detection_templates(config.prompts, name_)),
      held_out_(std::move(corpus), decode, config.corpus.kind, name_),
      boxes_(config.boxes, held_out_.corpus(), decode, name_) {
  for (std::int64_t record = 0; record < boxes_.records(); ++record) {
    for (const auto& object : boxes_.picture(record).objects) {
      if (!object.crowd) return;
    }
  }
  throw ConfigError("eval " + name_ + ": " + boxes_.path() + " has no object in any picture of the corpus but crowds");
}

Needs Detection::needs() const {
  return {.text = true, .patches = config_.proposals == "activation", .regions = config_.proposals == "regions"};
}

std::vector<std::string> Detection::metric_names() const {
  return {"map_50", "map_30", "samples", "instances", "classes", "present_classes", "dropped", "unusable"};
}

std::vector<Metric> Detection::run(const Encoders& encoders, EvalScope& scope) {
  if (config_.score == "softmax" && !encoders.scale)
    throw ConfigError("eval " + name_ +
                      ": score: softmax needs the multiplier of similarities, which the objective does "
                      "not have; use score: cosine");
  std::vector<std::vector<std::string>> names;
  for (const auto& name : boxes_.class_names()) names.push_back({name});
  const auto class_Cd = encode_classes(names, templates_, encoders, scope);

  std::vector<at::Tensor> pieces;
  auto positives_C = at::zeros({class_Cd.size(0)}, at::kLong);
  std::int64_t samples = 0, dropped = 0;
  std::int64_t unusable = held_out_.for_each_block(scope, [&](const EvalRows& rows) {
    const auto candidates = box_candidates(config_.proposals, encoders, rows.images);
    std::vector<double> judged;
    for (std::int64_t row = 0; row < rows.records.numel(); ++row) {
      const auto seen = boxes_.seen(rows, row, scope.image_size);
      dropped += seen.dropped;
      ++samples;
      for (const auto& object : seen.objects)
        positives_C.mutable_data_ptr<std::int64_t>()[object.category] += !object.crowd;
      const auto cosine_CM = candidate_cosines(class_Cd, candidates.embedding_nMd[row]);
      const auto score_CM = scores_of(cosine_CM, config_.score, encoders);
      const auto regions =
          candidates.boxes.empty() ? std::vector<RealBox>{} : candidates.boxes[static_cast<std::size_t>(row)];
      judge(detect(cosine_CM, score_CM, regions, config_), seen.objects, judged);
    }
    pieces.push_back(at::tensor(judged, at::kDouble).view({-1, kColumns}));
  });
  const auto judged = gather_rows(pieces, at::kCPU, scope.comm);
  scope.comm.all_reduce_sum(positives_C);
  samples = scope.comm.sum(samples);
  dropped = scope.comm.sum(dropped);
  unusable = scope.comm.sum(unusable);
  const auto instances = positives_C.sum().item<std::int64_t>();
  if (instances == 0)
    throw DataBudgetError("eval " + name_ + ": no object of " + boxes_.path() +
                          " is left: " + std::to_string(unusable) + " records cannot be used, " +
                          std::to_string(dropped) + " objects are cut away by the view");
  return {{"map_50", mean_precision(judged, positives_C, 0)},
          {"map_30", mean_precision(judged, positives_C, 1)},
          {"samples", static_cast<double>(samples)},
          {"instances", static_cast<double>(instances)},
          {"classes", static_cast<double>(class_Cd.size(0))},
          {"present_classes", static_cast<double>(positives_C.gt(0).sum().item<std::int64_t>())},
          {"dropped", static_cast<double>(dropped)},
          {"unusable", static_cast<double>(unusable)}};
}

}  // namespace triptych
