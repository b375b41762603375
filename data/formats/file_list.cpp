// Brace lists and glob(3).
#include "data/formats/file_list.h"

#include <glob.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <new>
#include <optional>
#include <string_view>
#include <unordered_set>

#include "core/base/errors.h"
#include "data/formats/index_file.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

[[noreturn]] void fail(std::string_view pattern, const std::string& what) {
  throw ConfigError("'" + printable(pattern) + "': " + what);
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text[0] == '-' || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return {};
  return value;
}

/// "003..012" as names; nothing when it is no range.
std::optional<std::vector<std::string>> range_names(std::string_view inside, std::string_view pattern) {
  const auto dots = inside.find("..");
  if (dots == std::string_view::npos) return std::nullopt;
  const auto low_text = inside.substr(0, dots), high_text = inside.substr(dots + 2);
  const auto low = whole_number(low_text), high = whole_number(high_text);
  if (!low || !high) return std::nullopt;
  if (*low > *high) fail(pattern, "the range {" + std::string(inside) + "} runs backwards");
  if (*high - *low >= static_cast<std::int64_t>(kMostFiles)) {
    fail(pattern, "the range {" + std::string(inside) + "} has more than " + std::to_string(kMostFiles) + " names");
  }
  const bool fill = (low_text.size() > 1 && low_text[0] == '0') || (high_text.size() > 1 && high_text[0] == '0');
  const auto width = fill ? std::max(low_text.size(), high_text.size()) : 0;
  std::vector<std::string> names;
  for (auto n = *low; n <= *high; ++n) {
    auto name = std::to_string(n);
    if (name.size() < width) name.insert(0, width - name.size(), '0');
    names.push_back(std::move(name));
  }
  return names;
}

std::vector<std::string> brace_names(std::string_view inside, std::string_view pattern) {
  if (auto range = range_names(inside, pattern)) return std::move(*range);
  if (inside.find(',') == std::string_view::npos) {
    fail(pattern, "{" + printable(inside) + "} is neither a range {000..012} nor a list {a,b}");
  }
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin <= inside.size();) {
    const auto end = std::min(inside.find(',', begin), inside.size());
    names.emplace_back(inside.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

bool has_wildcard(const std::string& name) {
  return name.find_first_of("*?[") != std::string::npos;
}

/// What glob() met: folders that are not there match nothing, all others end it. It takes no context.
thread_local std::string unreadable;

int note_unreadable(const char* folder, int error_number) {
  if (error_number == ENOENT || error_number == ENOTDIR) return 0;
  unreadable = printable(folder) + ": " + std::strerror(error_number);
  return 1;
}

void append_matches(const std::string& name, const std::string& pattern, std::vector<std::string>& files) {
  std::error_code ignored;
  if (!has_wildcard(name) || std::filesystem::exists(name, ignored)) {
    if (!std::filesystem::exists(name, ignored)) fail(pattern, "there is no file or folder " + printable(name));
    files.push_back(name);
    return;
  }
  glob_t found{};
  const auto before = files.size();
  const int status = ::glob(name.c_str(), GLOB_NOSORT, note_unreadable, &found);
  if (status == 0) {
    std::copy_if(found.gl_pathv, found.gl_pathv + found.gl_pathc, std::back_inserter(files),
                 [](const char* file) { return !is_own_file(file); });
  }
  ::globfree(&found);
  std::sort(files.begin() + static_cast<std::ptrdiff_t>(before), files.end());
  if (status == GLOB_ABORTED) fail(pattern, "a folder cannot be read: " + unreadable);
  if (status == GLOB_NOSPACE) throw std::bad_alloc();
  // Of every name that the braces give: the part of a corpus that is not there must not go unnoticed.
  if (files.size() == before) {
    fail(pattern, "no file matches" + (name == pattern ? "" : " " + printable(name)) +
                      "; paths are relative to the working directory");
  }
}

}  // namespace

std::vector<std::string> expand_braces(const std::string& pattern) {
  std::vector<std::string> names = {""};
  std::size_t at = 0;
  while (at < pattern.size()) {
    const auto open = pattern.find('{', at);
    const auto plain = pattern.substr(at, open == std::string::npos ? open : open - at);
    for (auto& name : names) name += plain;
    if (open == std::string::npos) break;
    const auto close = pattern.find('}', open);
    if (close == std::string::npos) fail(pattern, "a '{' has no '}'");
    const auto inside = std::string_view(pattern).substr(open + 1, close - open - 1);
    if (inside.find('{') != std::string_view::npos) fail(pattern, "braces cannot stand in braces");
    const auto choices = brace_names(inside, pattern);
    if (choices.size() > kMostFiles / names.size()) {
      fail(pattern, "more than " + std::to_string(kMostFiles) + " names");
    }
    std::vector<std::string> longer;
    longer.reserve(names.size() * choices.size());
    for (const auto& name : names) {
      for (const auto& choice : choices) longer.push_back(name + choice);
    }
    names = std::move(longer);
    at = close + 1;
  }
  return names;
}

std::vector<std::string> list_files(const std::string& pattern) {
  std::error_code ignored;
  if (std::filesystem::exists(pattern, ignored)) return {pattern};
  std::vector<std::string> files;
  for (const auto& name : expand_braces(pattern)) append_matches(name, pattern, files);
  std::unordered_set<std::string> met;
  std::erase_if(files, [&](const std::string& file) { return !met.insert(file).second; });
  return files;
}

std::vector<std::string> list_files(const char* key, const std::string& pattern) {
  try {
    return list_files(pattern);
  } catch (const ConfigError& error) {
    throw ConfigError(std::string(key) + ": " + error.what());
  }
}

}  // namespace triptych
