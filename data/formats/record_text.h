// Captions and labels as they stand in the members of a record.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace triptych {

inline constexpr std::size_t kLongestCaption = 64 << 10;  ///< bytes
inline constexpr int kDeepestJson = 100;                  ///< levels; what goes through values may be recursive

/// Nothing but a byte order mark and blanks: as good as no caption.
bool is_empty_caption(std::string_view text);

/// `text` without a byte order mark and blanks at its ends. Throws DataError: empty, not UTF-8, a NUL inside, longer
/// than kLongestCaption.
std::string clean_caption(std::string_view text);

/// A label without blanks at its ends. Throws DataError: empty, longer than 1,000 bytes, not UTF-8, with a line end or
/// a NUL.
std::string clean_label(std::string_view text);

/// The captions under `key` of a JSON object: a string, or a list of strings. Empty and null ones are left out; nothing
/// is left when the key is absent. Throws DataError: another type.
std::vector<std::string> json_captions(const nlohmann::json& object, const std::string& key);

/// The captions under all of `keys`, in their order. Throws DataError: nothing is left, and as json_captions does.
std::vector<std::string> all_captions(const nlohmann::json& object, const std::vector<std::string>& keys);

/// Parses one JSON value; `what` names it in errors. NaN, Infinity and -Infinity, which Python's json.dumps writes, are
/// null. Throws DataError: no JSON (with the byte, from 1), or nested
/// deeper than kDeepestJson, which is found before a value is built.
nlohmann::json parse_json(std::string_view text, const std::string& what);

/// The same for text that must be one JSON object.
nlohmann::json parse_object(std::string_view text, const std::string& what = "the .json member");

/// A class index written as decimal digits with blanks around. Throws DataError naming the value: no number, negative,
/// or not below `classes`.
std::int64_t parse_label(std::string_view text, std::int64_t classes);

/// The same from a JSON number or string under `key`. Throws DataError also when the key is absent.
std::int64_t json_label(const nlohmann::json& object, const std::string& key, std::int64_t classes);

/// The label under `key` as text: a string that names a class, or a whole number. Throws DataError: absent, another
/// type.
std::string json_label_text(const nlohmann::json& object, const std::string& key);

}  // namespace triptych
