// Objects of pictures as a file in COCO's JSON format names them (Lin et al. 2014, arXiv:1405.0312; cocodataset.org,
// "data format"), with the words of the caption as MDETR adds them (Kamath et al. 2021, arXiv:2104.12763).
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "data/image/box.h"

namespace triptych {

struct CocoObject {
  RealBox box;               ///< in pixels of the whole picture, inside of it
  std::size_t category = 0;  ///< index into CocoBoxes::categories
  bool crowd = false;        ///< many objects in one box
  std::string phrase = {};   ///< words of the caption that name it; empty where the file does not say
};

struct CocoPicture {
  std::string file_name;
  Size size;            ///< pixels
  std::string caption;  ///< empty where the file has none
  std::vector<CocoObject> objects;
};

struct CocoBoxes {
  std::string path;
  std::vector<std::string> categories;  ///< names, in the order of the file
  std::vector<CocoPicture> pictures;    ///< in the order of the file
};

/// Reads {"images": [{"id", "file_name", "width", "height", "caption"}], "categories": [{"id", "name"}],
/// "annotations": [{"image_id", "category_id", "bbox": [left, top, width, height], "iscrowd", "tokens_positive":
/// [[begin, end], ...]}]}; other keys are left alone. "iscrowd" may be absent (0); "tokens_positive" too: the bytes of
/// the caption, which then is needed, in pieces that are joined by blanks.
///
/// A box may leave its picture by less than a pixel, since such files round; it is cut there. Throws ConfigError naming
/// file and entry: no such file, no such JSON, a key that is missing or of another type, an id, file name or category
/// that stands twice, an id that nothing has, a box that is empty or outside, bytes that are none of the caption's or
/// cut a character.
CocoBoxes read_coco_boxes(const std::string& path);

}  // namespace triptych
