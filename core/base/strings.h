// Small text helpers that several rooms need: joining, nearest word, numbers for people and for files.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

std::string join(const std::vector<std::string>& parts, std::string_view separator);

/// The candidate that `word` was probably meant to be: smallest edit distance (insert, delete, replace, swap
/// neighbours), at most a third of the word's length (2 at least), equal up to case and '-' for '_' first. Nothing if
/// none is near.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

/// As HTML that shows this text: & < > " are written as entities.
std::string html_text(std::string_view text);

/// The shortest decimal that reads back as exactly `value`: "0.001", "1e-08"; whole numbers in full: "10000000".
std::string number_text(double value);

/// Lets a map with keys std::string be searched by std::string_view (with std::equal_to<>).
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

/// For people: "17 B", "1.5 KiB", "2.0 GiB".
std::string human_size(std::uint64_t bytes);
/// For people: "0.42 s", "7.5 s", "3 min 20 s", "2 h 05 min", "3 d 04 h".
std::string human_duration(double seconds);
/// For people: "1,234,567".
std::string human_count(std::int64_t n);

}  // namespace triptych
