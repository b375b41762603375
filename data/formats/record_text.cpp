// Reading captions and labels strictly: what is not right is a bad record with a reason.
#include "data/formats/record_text.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "core/base/errors.h"
#include "core/base/strings.h"
#include "data/formats/class_names.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  const auto begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

[[noreturn]] void bad_label(std::string_view value, std::int64_t classes) {
  throw DataError("label '" + printable(value) + "' is no class index: 0 to " + std::to_string(classes - 1) +
                  " are expected");
}

}  // namespace

std::string clean_caption(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  text = trimmed(text);
  if (text.empty()) throw DataError("the caption is empty");
  if (text.size() > kLongestCaption) {
    throw DataError("the caption has " + std::to_string(text.size()) + " bytes; at most " +
                    std::to_string(kLongestCaption) + " are taken");
  }
  if (text.find('\0') != std::string_view::npos) throw DataError("the caption holds a NUL");
  if (!is_utf8(text)) throw DataError("the caption is not UTF-8");
  return std::string(text);
}

std::string clean_label(std::string_view text) {
  text = trimmed(text);
  const bool sound = text.size() <= 1000 && is_utf8(text) &&
                     text.find_first_of(std::string_view("\n\r\0", 3)) == std::string_view::npos;
  if (!sound) {
    throw DataError("label '" + printable(text.substr(0, 100)) +
                    "' is no name: at most 1,000 bytes of UTF-8 in one line are taken");
  }
  if (normalized_name(text).empty()) throw DataError("the label is empty");
  return std::string(text);
}

std::vector<std::string> json_captions(const nlohmann::json& object, const std::string& key) {
  const auto found = object.find(key);
  if (found == object.end()) return {};
  if (found->is_string()) return {clean_caption(found->get_ref<const std::string&>())};
  if (!found->is_array()) throw DataError("JSON key '" + key + "' is neither a string nor a list of strings");
  std::vector<std::string> captions;
  for (const auto& entry : *found) {
    if (!entry.is_string()) throw DataError("JSON key '" + key + "' holds something that is no string");
    const auto& text = entry.get_ref<const std::string&>();
    if (!trimmed(text).empty()) captions.push_back(clean_caption(text));
  }
  if (captions.empty()) throw DataError("JSON key '" + key + "' holds no caption that is not empty");
  return captions;
}

std::vector<std::string> all_captions(const nlohmann::json& object, const std::vector<std::string>& keys) {
  std::vector<std::string> captions;
  for (const auto& key : keys) {
    for (auto& caption : json_captions(object, key)) captions.push_back(std::move(caption));
  }
  if (captions.empty()) throw DataError("no caption: none of the keys " + join(keys, ", ") + " is there");
  return captions;
}

nlohmann::json parse_object(std::string_view text, const std::string& what) {
  auto object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (object.is_discarded()) throw DataError(what + " cannot be parsed as JSON");
  if (!object.is_object()) throw DataError(what + " is no JSON object");
  return object;
}

std::int64_t parse_label(std::string_view text, std::int64_t classes) {
  const auto digits = trimmed(text);
  std::int64_t label = -1;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), label);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
  if (!whole || label < 0 || label >= classes) bad_label(digits, classes);
  return label;
}

std::int64_t json_label(const nlohmann::json& object, const std::string& key, std::int64_t classes) {
  const auto found = object.find(key);
  if (found == object.end()) throw DataError("neither a ." + key + " member nor a JSON key '" + key + "'");
  if (found->is_string()) return parse_label(found->get_ref<const std::string&>(), classes);
  if (!found->is_number_integer()) bad_label(found->dump().substr(0, 100), classes);
  return parse_label(found->dump(), classes);
}

std::string json_label_text(const nlohmann::json& object, const std::string& key) {
  const auto found = object.find(key);
  if (found == object.end()) throw DataError("there is no key '" + key + "'");
  if (found->is_string()) return clean_label(found->get_ref<const std::string&>());
  if (found->is_number_integer()) return found->dump();
  throw DataError("key '" + key + "' is neither the name of a class nor a whole number");
}

}  // namespace triptych
