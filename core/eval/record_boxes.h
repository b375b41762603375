// The boxes of a file, found for the records of a held-out corpus and carried into the pictures that a model sees.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/eval/coco_boxes.h"
#include "data/corpus.h"
#include "data/data_config.h"
#include "data/image/augment.h"
#include "data/loader.h"

namespace triptych {

/// Where a box of the whole picture lies in a view of it, in shares of the view's sides: it may leave [0, 1].
RealBox box_in_view(const RealBox& box, const ViewGeometry& view);

/// A picture's objects, their boxes in shares of the sides of what the model sees, cut at its edges.
struct SeenObjects {
  std::vector<CocoObject> objects;
  std::int64_t dropped = 0;  ///< of which less than half is to be seen: they are left out
};

class RecordBoxes {
 public:
  /// A record's picture is the one whose file name, with or without its ending, is the record's key. Throws ConfigError
  /// when the file is wrong (read_coco_boxes), a record has no entry or two have the same, or one of a hundred records
  /// spread over the corpus has a picture of another size or another caption than its entry: two corpora that one
  /// program wrote may share their keys. `evaluator` is who asks.
  RecordBoxes(const std::string& path, const Corpus& corpus, const DecodeConfig& decode, const std::string& evaluator);

  const std::vector<std::string>& class_names() const { return file_.categories; }
  /// What the file says of a record's picture.
  const CocoPicture& picture(std::int64_t record) const;
  std::int64_t records() const { return static_cast<std::int64_t>(picture_of_.size()); }
  const std::string& path() const { return file_.path; }

  /// What is to be seen of a record whose picture was decoded to `decoded` pixels, in the held-out view of `image_size`
  /// pixels a side. Throws DataError when the file gives another size.
  SeenObjects seen(std::int64_t record, Size decoded, std::int64_t image_size) const;
  /// The same of a row of a block.
  SeenObjects seen(const EvalRows& rows, std::int64_t row, std::int64_t image_size) const;

 private:
  void check_size(std::int64_t record, Size decoded) const;
  void check_caption(std::int64_t record, const std::vector<std::string>& captions) const;
  void check_records(const Corpus& corpus) const;

  CocoBoxes file_;
  DecodeConfig decode_;
  std::vector<std::size_t> picture_of_;  // by record
};

}  // namespace triptych
