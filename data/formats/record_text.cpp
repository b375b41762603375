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

std::string_view caption_part(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return trimmed(text);
}

[[noreturn]] void bad_label(std::string_view value, std::int64_t classes) {
  throw DataError("label '" + printable(value) + "' is no class index: 0 to " + std::to_string(classes - 1) +
                  " are expected");
}

/// By brackets outside strings; in text that is no JSON they need not match.
bool nested_deeper(std::string_view json, int levels) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > levels) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

/// The values that Python's json.dumps writes for numbers that are none, and JSON does not have.
constexpr std::string_view kNoNumbers[] = {"NaN", "Infinity", "-Infinity"};

/// A copy of JSON text in which such values, outside strings, are null.
class NullsForNoNumbers {
 public:
  explicit NullsForNoNumbers(std::string_view json) {
    bool in_string = false;
    for (std::size_t i = 0; i < json.size(); ++i) {
      const auto length = in_string ? 0 : no_number_at(json, i);
      if (length > 0) {
        text_ += "null";
        replaced_.push_back({text_.size(), 4 - static_cast<std::ptrdiff_t>(length)});
        i += length - 1;
        continue;
      }
      text_ += json[i];
      const bool escape = in_string && json[i] == '\\' && i + 1 < json.size();
      if (escape) text_ += json[++i];
      if (!escape && json[i] == '"') in_string = !in_string;
    }
  }

  bool any() const { return !replaced_.empty(); }
  const std::string& text() const { return text_; }
  /// Where byte `byte` of text() stands in the source, both from 1.
  std::size_t source_byte(std::size_t byte) const {
    auto at = static_cast<std::ptrdiff_t>(byte);
    for (const auto& one : replaced_) at -= one.end < byte ? one.grown_by : 0;
    return static_cast<std::size_t>(at);
  }

 private:
  struct Replaced {
    std::size_t end;  ///< in text_
    std::ptrdiff_t grown_by;
  };

  /// The length of the value at `i` if it is one of them and stands where a value may; 0 otherwise.
  static std::size_t no_number_at(std::string_view json, std::size_t i) {
    constexpr std::string_view kBefore = ":,[ \t\r\n", kBehind = ",]} \t\r\n";
    if (i > 0 && kBefore.find(json[i - 1]) == std::string_view::npos) return 0;
    for (const auto word : kNoNumbers) {
      const auto end = i + word.size();
      const bool ends = end >= json.size() || kBehind.find(json[end]) != std::string_view::npos;
      if (ends && json.substr(i).starts_with(word)) return word.size();
    }
    return 0;
  }

  std::string text_;
  std::vector<Replaced> replaced_;
};

[[noreturn]] void bad_json(const std::string& what, std::size_t byte) {
  throw DataError(what + " cannot be parsed as JSON: wrong at its byte " + std::to_string(byte));
}

[[noreturn]] void too_large_number(const std::string& what) {
  throw DataError(what + " cannot be parsed as JSON: it has a number that is too large");
}

nlohmann::json parse_with_nulls(const NullsForNoNumbers& mended, const std::string& what) {
  try {
    return nlohmann::json::parse(mended.text());
  } catch (const nlohmann::json::parse_error& error) {
    bad_json(what, mended.source_byte(error.byte));
  } catch (const nlohmann::json::exception&) {
    too_large_number(what);
  }
}

}  // namespace

bool is_empty_caption(std::string_view text) {
  return caption_part(text).empty();
}

std::string clean_caption(std::string_view text) {
  text = caption_part(text);
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
  std::vector<std::string> captions;
  const auto take = [&](const nlohmann::json& value, const char* otherwise) {
    if (value.is_null()) return;
    if (!value.is_string()) throw DataError("JSON key '" + key + "' " + otherwise);
    const auto& text = value.get_ref<const std::string&>();
    if (!is_empty_caption(text)) captions.push_back(clean_caption(text));
  };
  if (found->is_array()) {
    for (const auto& entry : *found) take(entry, "holds something that is no string");
  } else {
    take(*found, "is neither a string nor a list of strings");
  }
  return captions;
}

std::vector<std::string> all_captions(const nlohmann::json& object, const std::vector<std::string>& keys) {
  std::vector<std::string> captions;
  for (const auto& key : keys) {
    for (auto& caption : json_captions(object, key)) captions.push_back(std::move(caption));
  }
  if (captions.empty()) throw DataError("no caption: " + join(keys, ", ") + " absent or empty");
  return captions;
}

nlohmann::json parse_json(std::string_view text, const std::string& what) {
  if (nested_deeper(text, kDeepestJson)) {
    throw DataError(what + " is JSON nested deeper than " + std::to_string(kDeepestJson) + " levels");
  }
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    const NullsForNoNumbers mended(text);
    if (!mended.any()) bad_json(what, error.byte);
    return parse_with_nulls(mended, what);
  } catch (const nlohmann::json::exception&) {
    too_large_number(what);
  }
}

nlohmann::json parse_object(std::string_view text, const std::string& what) {
  auto object = parse_json(text, what);
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
  if (found->is_null()) throw DataError("JSON key '" + key + "' is null");
  if (found->is_string()) return parse_label(found->get_ref<const std::string&>(), classes);
  // Not written out: nlohmann does so recursively.
  if (found->is_structured()) {
    throw DataError("JSON key '" + key + "' holds an " + found->type_name() + ", no class index: 0 to " +
                    std::to_string(classes - 1) + " are expected");
  }
  if (!found->is_number_integer()) bad_label(found->dump().substr(0, 100), classes);
  return parse_label(found->dump(), classes);
}

std::string json_label_text(const nlohmann::json& object, const std::string& key) {
  const auto found = object.find(key);
  if (found == object.end()) throw DataError("there is no key '" + key + "'");
  if (found->is_null()) throw DataError("key '" + key + "' is null");
  if (found->is_string()) return clean_label(found->get_ref<const std::string&>());
  if (found->is_number_integer()) return found->dump();
  throw DataError("key '" + key + "' is neither the name of a class nor a whole number");
}

}  // namespace triptych
