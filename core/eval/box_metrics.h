// How well boxes fit: overlap, suppression of repeated boxes, and average precision by COCO's rules (Lin et al. 2014,
// arXiv:1405.0312; the numbers are those of pycocotools). A box is left, top, width, height in any unit.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/image/box.h"

namespace triptych {

/// Common area over joint area, in [0, 1]; 0 for two boxes without area.
double box_iou(const RealBox& a, const RealBox& b);

/// Common area over the area of `box`: what COCO compares with a crowd. 0 for a box without area.
double share_inside(const RealBox& box, const RealBox& region);

/// Whether the centre of `box` lies in `region`, borders included.
bool centre_inside(const RealBox& box, const RealBox& region);

/// Greedy non-maximum suppression: the indices of the boxes that are kept, best score first. A box goes when its
/// overlap with a kept one is greater than `most_overlap`. Among equal scores the lower index is first. Scores are
/// numbers, one a box.
std::vector<std::size_t> suppress(std::span<const RealBox> boxes, std::span<const double> scores, double most_overlap);

/// An object of a class in a picture.
struct Truth {
  RealBox box;
  bool crowd = false;  ///< many objects in one box: what fits it is neither right nor wrong
};

enum class Verdict { kMiss, kHit, kIgnored };

/// What each detection of one class in one picture is, best first: a hit takes the free object that it overlaps most,
/// by at least `iou` (of equal ones the last); without one, a detection that lies in a crowd by `iou` of its own area
/// is ignored.
std::vector<Verdict> match_boxes(std::span<const RealBox> detections, std::span<const Truth> truths, double iou);

struct Judged {
  double score = 0;
  Verdict verdict = Verdict::kMiss;
};

/// Average precision of a class: its detections in all pictures, picture by picture, against `positives` objects that
/// are no crowds. For each recall of 0, 0.01, ..., 1 the best precision at that recall or a higher one, 0 where it is
/// not reached; their mean. Equal scores stay in the order given. Nothing when there is no object to find.
std::optional<double> average_precision(std::vector<Judged> detections, std::int64_t positives);

}  // namespace triptych
