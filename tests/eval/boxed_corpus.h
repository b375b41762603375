// Pictures of chosen sizes whose objects a file names, and a region head that finds what it is told.
#pragma once
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/eval/record_boxes.h"
#include "tests/eval/toy_corpus.h"
#include "tests/support/temp_dir.h"

namespace triptych {

/// ToyCorpus with a size of each picture; its records have no captions, or `captions`.
class SizedCorpus : public ToyCorpus {
 public:
  explicit SizedCorpus(std::vector<Size> sizes, std::set<std::int64_t> broken = {},
                       std::vector<std::vector<std::string>> captions = {})
      : ToyCorpus(captions.empty() ? std::vector<std::vector<std::string>>(sizes.size()) : std::move(captions),
                  std::move(broken)),
        sizes_(std::move(sizes)) {}
  Record read(std::int64_t index) const override {
    auto record = ToyCorpus::read(index);
    const auto size = sizes_[static_cast<std::size_t>(index)];
    std::vector<unsigned char> rgb;
    for (int pixel = 0; pixel < size.width * size.height; ++pixel) {
      rgb.insert(rgb.end(), {static_cast<unsigned char>(index / 256), static_cast<unsigned char>(index % 256), 7});
    }
    unsigned char* encoded = nullptr;
    const auto bytes = WebPEncodeLosslessRGB(rgb.data(), size.width, size.height, 3 * size.width, &encoded);
    record.image.assign(encoded, encoded + bytes);
    WebPFree(encoded);
    return record;
  }

 private:
  std::vector<Size> sizes_;
};

/// The file of boxes of such a corpus, still without objects: file names are "0.jpg", "1.jpg", ...; ids are not places.
inline nlohmann::json boxes_file(const std::vector<Size>& sizes, const std::vector<std::string>& classes) {
  nlohmann::json file = {{"images", nlohmann::json::array()},
                         {"categories", nlohmann::json::array()},
                         {"annotations", nlohmann::json::array()}};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    file["images"].push_back({{"id", 100 + i},
                              {"file_name", std::to_string(i) + ".jpg"},
                              {"width", sizes[i].width},
                              {"height", sizes[i].height},
                              {"caption", ""}});
  }
  for (std::size_t i = 0; i < classes.size(); ++i) file["categories"].push_back({{"id", 50 - i}, {"name", classes[i]}});
  return file;
}

/// Adds an object; its phrase, if it has one, is written behind the caption of its picture.
inline void add_object(nlohmann::json& file, std::size_t picture, std::size_t category, const RealBox& box,
                       const std::string& phrase = "", bool crowd = false) {
  nlohmann::json object = {{"id", file["annotations"].size() + 1},
                           {"image_id", 100 + picture},
                           {"category_id", 50 - category},
                           {"bbox", {box.x, box.y, box.width, box.height}},
                           {"iscrowd", crowd ? 1 : 0}};
  if (!phrase.empty()) {
    auto caption = file["images"][picture]["caption"].get<std::string>() + " and ";
    object["tokens_positive"] = {{caption.size(), caption.size() + phrase.size()}};
    file["images"][picture]["caption"] = caption + phrase;
  }
  file["annotations"].push_back(object);
}

inline std::string write_boxes(const TempDir& dir, const nlohmann::json& file) {
  const auto path = (dir / "boxes.coco.json").string();
  std::ofstream(path) << file.dump();
  return path;
}

/// Looks up what each picture's regions are: box_NM4 (left, top, right, bottom) and embedding_NMd, by picture.
inline std::function<RegionProposals(const at::Tensor&)> toy_regions(at::Tensor box_NM4, at::Tensor embedding_NMd) {
  return [=](const at::Tensor& images) {
    const auto number = toy_numbers(images);
    return RegionProposals{box_NM4.index_select(0, number),
                           at::full({number.numel(), box_NM4.size(1)}, 0.5, at::kFloat),
                           embedding_NMd.index_select(0, number)};
  };
}

/// Boxes inside the unit square, drawn anew for each `what`. fp32 [N, M, 4], left, top, right, bottom.
inline at::Tensor random_corners(std::int64_t pictures, std::int64_t regions, std::uint64_t what) {
  RandomStream draws(random_key(7, Purpose::kTest, {what}));
  auto corners = at::empty({pictures, regions, 4}, at::kFloat);
  auto* value = corners.data_ptr<float>();
  for (std::int64_t i = 0; i < pictures * regions; ++i, value += 4) {
    for (int axis = 0; axis < 2; ++axis) {
      const double length = draws.uniform(0.1, 0.7), start = draws.uniform(0, 1 - length);
      value[axis] = static_cast<float>(start);
      value[axis + 2] = static_cast<float>(start + length);
    }
  }
  return corners;
}

inline RealBox box_of(const at::Tensor& corners_NM4, std::int64_t picture, std::int64_t region) {
  const auto corner = corners_NM4[picture][region].to(at::kDouble);
  const auto* c = corner.const_data_ptr<double>();
  return {c[0], c[1], c[2] - c[0], c[3] - c[1]};
}

}  // namespace triptych
