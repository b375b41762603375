// COCO's three tables, joined by their ids.
#include "core/eval/coco_boxes.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>
#include <utility>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "data/formats/input_file.h"
#include "data/formats/printable.h"
#include "data/formats/record_text.h"

namespace triptych {
namespace {

using nlohmann::json;

constexpr std::int64_t kLargestCocoFile = std::int64_t{4} << 30;  // bytes
constexpr std::int64_t kLongestSide = 1 << 20;                    // pixels, far above what is decoded

/// Looks up what an entry must have; its errors say which file and which entry.
class CocoEntry {
 public:
  CocoEntry(const std::string& path, const char* table, std::size_t place, const json& value)
      : path_(path), name_(std::string(table) + "[" + std::to_string(place) + "]"), value_(value) {
    if (!value.is_object()) fail("got " + std::string(value.type_name()) + ", expected an object");
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw ConfigError(path_ + ": " + name_ + id_text() + ": " + what + "; mend the file");
  }
  /// null if there is none.
  const json* find(const char* key) const {
    const auto found = value_.find(key);
    return found == value_.end() || found->is_null() ? nullptr : &*found;
  }
  const json& at(const char* key) const {
    if (const auto* found = find(key)) return *found;
    fail(std::string(key) + " is missing");
  }
  std::int64_t integer(const char* key) const {
    const auto& number = at(key);
    if (!number.is_number_integer()) fail(std::string(key) + " is " + brief(number) + ", expected a whole number");
    return number.get<std::int64_t>();
  }
  std::string text(const char* key) const {
    const auto& value = at(key);
    if (!value.is_string() || value.get_ref<const std::string&>().empty())
      fail(std::string(key) + " is " + brief(value) + ", expected a text");
    return value.get<std::string>();
  }
  int side(const char* key) const {
    const auto pixels = integer(key);
    if (pixels < 1 || pixels > kLongestSide)
      fail(std::string(key) + " is " + std::to_string(pixels) + ", expected pixels from 1 to " +
           std::to_string(kLongestSide));
    return static_cast<int>(pixels);
  }
  static std::string brief(const json& value) {
    return printable(value.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 80));
  }

 private:
  std::string id_text() const {
    const auto id = value_.is_object() ? value_.find("id") : value_.end();
    return id == value_.end() ? "" : " (id " + brief(*id) + ")";
  }

  const std::string& path_;
  std::string name_;
  const json& value_;
};

json read_document(const std::string& path) {
  try {
    return parse_object(InputFile(path).read_all(kLargestCocoFile), path);
  } catch (const DataError& error) {
    throw ConfigError("boxes: " + std::string(error.what()) + "; expected a file in COCO's JSON format");
  }
}

/// `use(entry, place)` for each entry of a table.
template <class Use>
void for_each_entry(const std::string& path, const json& document, const char* table, Use&& use) {
  const auto found = document.find(table);
  if (found == document.end() || !found->is_array())
    throw ConfigError(path + ": " + table + " is no list; expected a file in COCO's JSON format");
  std::size_t place = 0;
  for (const auto& value : *found) {
    use(CocoEntry(path, table, place, value), place);
    ++place;
  }
}

/// The place of each entry by its id.
using Places = std::unordered_map<std::int64_t, std::size_t>;

void add_id(const CocoEntry& entry, std::size_t place, Places& places) {
  const auto [other, fresh] = places.emplace(entry.integer("id"), place);
  if (!fresh) entry.fail("the id is that of entry " + std::to_string(other->second) + " too");
}

std::size_t look_up(const CocoEntry& entry, const char* key, const Places& places, const char* table) {
  const auto id = entry.integer(key);
  const auto found = places.find(id);
  if (found == places.end())
    entry.fail(std::string(key) + " is " + std::to_string(id) + ", which no entry of " + table + " has");
  return found->second;
}

RealBox read_box(const CocoEntry& entry, Size picture) {
  const auto& list = entry.at("bbox");
  const auto finite = [](const json& value) { return value.is_number() && std::isfinite(value.get<double>()); };
  if (!list.is_array() || list.size() != 4 || !std::all_of(list.begin(), list.end(), finite))
    entry.fail("bbox is " + CocoEntry::brief(list) + ", expected four numbers: left, top, width, height");
  const RealBox box{list[0].get<double>(), list[1].get<double>(), list[2].get<double>(), list[3].get<double>()};
  const double right = box.x + box.width, bottom = box.y + box.height;
  if (box.width <= 0 || box.height <= 0)
    entry.fail("bbox is " + CocoEntry::brief(list) + ", which is empty; expected a width and a height above 0");
  if (box.x <= -1 || box.y <= -1 || right >= picture.width + 1 || bottom >= picture.height + 1)
    entry.fail("bbox is " + CocoEntry::brief(list) + ", which leaves its picture of " + std::to_string(picture.width) +
               " x " + std::to_string(picture.height) + " pixels");
  const double left = std::max(box.x, 0.0), top = std::max(box.y, 0.0);
  const RealBox cut{left, top, std::min<double>(right, picture.width) - left,
                    std::min<double>(bottom, picture.height) - top};
  if (cut.width <= 0 || cut.height <= 0)
    entry.fail("bbox is " + CocoEntry::brief(list) + ", which lies outside of its picture");
  return cut;
}

bool read_crowd(const CocoEntry& entry) {
  const auto* value = entry.find("iscrowd");
  if (value == nullptr) return false;
  if (value->is_boolean()) return value->get<bool>();
  const auto number = entry.integer("iscrowd");
  if (number != 0 && number != 1) entry.fail("iscrowd is " + std::to_string(number) + ", expected 0 or 1");
  return number == 1;
}

/// Empty if the entry has none.
std::string read_caption(const CocoEntry& entry) {
  const auto* caption = entry.find("caption");
  if (caption == nullptr) return {};
  if (!caption->is_string()) entry.fail("caption is " + CocoEntry::brief(*caption) + ", expected a text");
  return caption->get<std::string>();
}

bool cuts_character(const std::string& text, std::size_t place) {
  return place < text.size() && (static_cast<unsigned char>(text[place]) & 0xC0) == 0x80;
}

/// Empty if the entry names no words.
std::string read_phrase(const CocoEntry& entry, const std::string& caption) {
  const auto* spans = entry.find("tokens_positive");
  if (spans == nullptr) return {};
  const auto refuse = [&](const std::string& why) {
    entry.fail("tokens_positive is " + CocoEntry::brief(*spans) + ", " + why);
  };
  if (!spans->is_array()) refuse("expected a list of [begin, end]");
  std::vector<std::string> pieces;
  for (const auto& span : *spans) {
    if (!span.is_array() || span.size() != 2 || !span[0].is_number_integer() || !span[1].is_number_integer())
      refuse("expected a list of [begin, end]");
    const auto begin = span[0].get<std::int64_t>(), end = span[1].get<std::int64_t>();
    if (begin < 0 || end <= begin || end > static_cast<std::int64_t>(caption.size()))
      refuse("expected bytes of its picture's caption, which has " + std::to_string(caption.size()));
    const auto first = static_cast<std::size_t>(begin), last = static_cast<std::size_t>(end);
    if (cuts_character(caption, first) || cuts_character(caption, last))
      refuse("which cuts a character of the caption; expected bytes, not characters");
    pieces.push_back(caption.substr(first, last - first));
  }
  return join(pieces, " ");
}

}  // namespace

CocoBoxes read_coco_boxes(const std::string& path) {
  const auto document = read_document(path);
  CocoBoxes boxes{path, {}, {}};
  std::set<std::string> names, files;
  Places categories, pictures;
  for_each_entry(path, document, "categories", [&](const CocoEntry& entry, std::size_t place) {
    add_id(entry, place, categories);
    boxes.categories.push_back(entry.text("name"));
    if (!names.insert(boxes.categories.back()).second)
      entry.fail("name '" + printable(boxes.categories.back()) + "' is that of another category");
  });
  for_each_entry(path, document, "images", [&](const CocoEntry& entry, std::size_t place) {
    add_id(entry, place, pictures);
    boxes.pictures.push_back(
        {entry.text("file_name"), {entry.side("width"), entry.side("height")}, read_caption(entry), {}});
    if (!files.insert(boxes.pictures.back().file_name).second)
      entry.fail("file_name '" + printable(boxes.pictures.back().file_name) + "' is that of another picture");
  });
  for_each_entry(path, document, "annotations", [&](const CocoEntry& entry, std::size_t) {
    const auto place = look_up(entry, "image_id", pictures, "images");
    auto& picture = boxes.pictures[place];
    picture.objects.push_back({read_box(entry, picture.size), look_up(entry, "category_id", categories, "categories"),
                               read_crowd(entry), read_phrase(entry, picture.caption)});
  });
  return boxes;
}

}  // namespace triptych
