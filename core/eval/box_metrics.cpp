// Overlaps, greedy matching, the interpolated curve of precision.
#include "core/eval/box_metrics.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace triptych {
namespace {

double area(const RealBox& box) {
  return box.width * box.height;
}

double common_area(const RealBox& a, const RealBox& b) {
  const double width = std::min(a.x + a.width, b.x + b.width) - std::max(a.x, b.x);
  const double height = std::min(a.y + a.height, b.y + b.height) - std::max(a.y, b.y);
  return width > 0 && height > 0 ? width * height : 0;
}

}  // namespace

double box_iou(const RealBox& a, const RealBox& b) {
  const double common = common_area(a, b);
  return common > 0 ? common / (area(a) + area(b) - common) : 0;
}

double share_inside(const RealBox& box, const RealBox& region) {
  const double common = common_area(box, region);
  return common > 0 ? common / area(box) : 0;
}

bool centre_inside(const RealBox& box, const RealBox& region) {
  const double x = box.x + box.width / 2, y = box.y + box.height / 2;
  return x >= region.x && x <= region.x + region.width && y >= region.y && y <= region.y + region.height;
}

std::vector<std::size_t> suppress(std::span<const RealBox> boxes, std::span<const double> scores, double most_overlap) {
  std::vector<std::size_t> order(boxes.size()), kept;
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  for (const auto candidate : order) {
    const bool repeated = std::any_of(kept.begin(), kept.end(), [&](std::size_t better) {
      return box_iou(boxes[better], boxes[candidate]) > most_overlap;
    });
    if (!repeated) kept.push_back(candidate);
  }
  return kept;
}

std::vector<Verdict> match_boxes(std::span<const RealBox> detections, std::span<const Truth> truths, double iou) {
  std::vector<bool> taken(truths.size(), false);
  std::vector<Verdict> verdicts;
  for (const auto& detection : detections) {
    double best = iou;
    std::optional<std::size_t> match;
    for (std::size_t i = 0; i < truths.size(); ++i) {
      if (truths[i].crowd || taken[i]) continue;
      const double overlap = box_iou(detection, truths[i].box);
      if (overlap < best) continue;
      best = overlap;
      match = i;
    }
    if (match) taken[*match] = true;
    const bool in_crowd = std::any_of(truths.begin(), truths.end(), [&](const Truth& truth) {
      return truth.crowd && share_inside(detection, truth.box) >= iou;
    });
    verdicts.push_back(match ? Verdict::kHit : in_crowd ? Verdict::kIgnored : Verdict::kMiss);
  }
  return verdicts;
}

std::optional<double> average_precision(std::vector<Judged> detections, std::int64_t positives) {
  if (positives == 0) return {};
  std::erase_if(detections, [](const Judged& one) { return one.verdict == Verdict::kIgnored; });
  std::stable_sort(detections.begin(), detections.end(),
                   [](const auto& a, const auto& b) { return a.score > b.score; });

  std::vector<double> recall, precision;
  double hits = 0;
  for (const auto& one : detections) {
    hits += one.verdict == Verdict::kHit;
    recall.push_back(hits / static_cast<double>(positives));
    // pycocotools adds this too, so that its numbers agree to the last bits.
    precision.push_back(hits / (static_cast<double>(recall.size()) + std::numeric_limits<double>::epsilon()));
  }
  for (std::size_t i = precision.size(); i > 1; --i) precision[i - 2] = std::max(precision[i - 2], precision[i - 1]);

  constexpr int kSteps = 100;
  double sum = 0;
  for (int step = 0; step <= kSteps; ++step) {
    const double wanted = step == kSteps ? 1.0 : step * (1.0 / kSteps);
    const auto reached = std::lower_bound(recall.begin(), recall.end(), wanted) - recall.begin();
    if (static_cast<std::size_t>(reached) < precision.size()) sum += precision[static_cast<std::size_t>(reached)];
  }
  return sum / (kSteps + 1);
}

}  // namespace triptych
