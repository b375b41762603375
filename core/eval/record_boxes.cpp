// Keys to entries, pixels to shares.
#include "core/eval/record_boxes.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "core/eval/box_metrics.h"
#include "data/formats/printable.h"
#include "data/formats/record_text.h"
#include "data/image/decode.h"

namespace triptych {
namespace {

constexpr double kLeastSeen = 0.5;  // share of a box that must be left after the cut

std::string without_ending(const std::string& name) {
  const auto dot = name.rfind('.'), slash = name.rfind('/');
  return dot == std::string::npos || (slash != std::string::npos && dot < slash) ? name : name.substr(0, dot);
}

/// Index of each record's picture. `who` begins the errors.
std::vector<std::size_t> match_records(const Corpus& corpus, const CocoBoxes& file, const std::string& who) {
  std::unordered_map<std::string, std::size_t> by_name;
  for (std::size_t i = 0; i < file.pictures.size(); ++i) by_name.emplace(file.pictures[i].file_name, i);
  for (std::size_t i = 0; i < file.pictures.size(); ++i) {
    by_name.emplace(without_ending(file.pictures[i].file_name), i);  // a whole name goes first
  }
  std::vector<std::size_t> matches;
  std::unordered_map<std::size_t, std::int64_t> record_of;
  for (std::int64_t record = 0; record < corpus.size(); ++record) {
    const auto place = corpus.place(record);
    const auto name = "record '" + printable(place.key) + "' of " + printable(place.shard);
    const auto found = by_name.find(place.key);
    if (found == by_name.end())
      throw ConfigError(who + file.path + " has no entry for " + name +
                        ": no file_name of its images is that key and an ending" +
                        "; name the file of this corpus (formats whose records have names: webdataset, image_folder)");
    const auto [other, fresh] = record_of.emplace(found->second, record);
    if (!fresh)
      throw ConfigError(who + "file_name '" + printable(file.pictures[found->second].file_name) + "' of " + file.path +
                        " is that of two records: " + name + " and one of " +
                        printable(corpus.place(other->second).shard) + "; give records keys of their own");
    matches.push_back(found->second);
  }
  return matches;
}

}  // namespace

RealBox box_in_view(const RealBox& box, const ViewGeometry& view) {
  const double across = static_cast<double>(view.scaled.width) / view.region.width;
  const double down = static_cast<double>(view.scaled.height) / view.region.height;
  const double left = (box.x - view.region.x) * across - view.window.x;
  const double top = (box.y - view.region.y) * down - view.window.y;
  const double width = box.width * across / view.window.width;
  const double x = left / view.window.width;
  return {view.flip ? 1 - x - width : x, top / view.window.height, width, box.height * down / view.window.height};
}

RecordBoxes::RecordBoxes(const std::string& path, const Corpus& corpus, const DecodeConfig& decode,
                         const std::string& evaluator)
    : file_(read_coco_boxes(path)),
      decode_(decode),
      picture_of_(match_records(corpus, file_, "eval " + evaluator + ": ")) {
  try {
    check_records(corpus);
  } catch (const DataError& error) {
    throw ConfigError("eval " + evaluator + ": " + error.what());
  }
}

const CocoPicture& RecordBoxes::picture(std::int64_t record) const {
  return file_.pictures.at(picture_of_.at(static_cast<std::size_t>(record)));
}

void RecordBoxes::check_size(std::int64_t record, Size decoded) const {
  const auto& entry = picture(record);
  if (entry.size.width == decoded.width && entry.size.height == decoded.height) return;
  const auto text = [](Size size) { return std::to_string(size.width) + " x " + std::to_string(size.height); };
  throw DataError(file_.path + ": '" + printable(entry.file_name) + "' is " + text(entry.size) +
                  " pixels there, but the record's picture is " + text(decoded) +
                  "; boxes must be those of the corpus's own pictures (data.decode.exif says whether they are turned)");
}

void RecordBoxes::check_caption(std::int64_t record, const std::vector<std::string>& captions) const {
  const auto& entry = picture(record);
  if (captions.empty() || is_empty_caption(entry.caption)) return;  // nothing to compare
  if (std::find(captions.begin(), captions.end(), clean_caption(entry.caption)) != captions.end()) return;
  throw DataError(file_.path + ": the caption of '" + printable(entry.file_name) + "' is '" + printable(entry.caption) +
                  "' there, but the record has '" + printable(join(captions, "', '")) +
                  "'; boxes must be those of the corpus's own pictures: name the file that was written with this "
                  "corpus");
}

void RecordBoxes::check_records(const Corpus& corpus) const {
  constexpr std::int64_t kLooked = 100;
  const std::int64_t looked = std::min(kLooked, corpus.size());
  for (std::int64_t i = 0; i < looked; ++i) {
    const std::int64_t record = i * corpus.size() / looked;
    Size size;
    std::vector<std::string> captions;
    try {
      auto read = corpus.read(record);
      const auto image = decode_image(read.image, decode_);
      size = {image.width, image.height};
      captions = std::move(read.captions);
    } catch (const DataError&) {
      continue;  // the walk counts what cannot be used
    }
    check_size(record, size);
    check_caption(record, captions);
  }
}

SeenObjects RecordBoxes::seen(std::int64_t record, Size decoded, std::int64_t image_size) const {
  check_size(record, decoded);
  const auto view = test_geometry(decoded, decode_.test_resize, static_cast<int>(image_size),
                                  static_cast<int>(decode_.test_short_side));
  SeenObjects seen;
  for (auto object : picture(record).objects) {
    const auto whole = box_in_view(object.box, view);
    if (share_inside(whole, {0, 0, 1, 1}) < kLeastSeen) {
      ++seen.dropped;
      continue;
    }
    const double left = std::max(whole.x, 0.0), top = std::max(whole.y, 0.0);
    object.box = {left, top, std::min(whole.x + whole.width, 1.0) - left, std::min(whole.y + whole.height, 1.0) - top};
    seen.objects.push_back(std::move(object));
  }
  return seen;
}

SeenObjects RecordBoxes::seen(const EvalRows& rows, std::int64_t row, std::int64_t image_size) const {
  const auto* side = rows.sizes.const_data_ptr<std::int64_t>() + 2 * row;
  return seen(rows.records.const_data_ptr<std::int64_t>()[row], {static_cast<int>(side[0]), static_cast<int>(side[1])},
              image_size);
}

}  // namespace triptych
