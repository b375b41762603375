// classes.txt.
#include "data/formats/class_names.h"

#include <unicode/normalizer2.h>
#include <unicode/unistr.h>

#include <unordered_map>

#include "core/base/errors.h"
#include "data/formats/input_file.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

constexpr std::int64_t kLargestFile = 64 << 20;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\v\f";
  const auto begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

/// The lines of a text without its byte order mark; a newline at the end starts no further line.
std::vector<std::string_view> lines_of(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string read_text(const std::string& path) {
  try {
    return InputFile(path).read_all(kLargestFile);
  } catch (const DataError& error) {
    throw ConfigError(std::string("class_names: ") + error.what());
  }
}

}  // namespace

std::string normalized_name(std::string_view name) {
  UErrorCode status = U_ZERO_ERROR;
  const auto* folding = icu::Normalizer2::getNFKCCasefoldInstance(status);
  if (U_FAILURE(status)) throw std::runtime_error("ICU has no NFKC case folding data");
  const auto text = icu::UnicodeString::fromUTF8({name.data(), static_cast<std::int32_t>(name.size())});
  const auto folded = folding->normalize(text, status);
  icu::UnicodeString out;
  for (std::int32_t i = 0; i < folded.length(); i = folded.moveIndex32(i, 1)) {
    const auto c = folded.char32At(i);
    const bool blank = u_isUWhiteSpace(c) || c == '_' || c == '-';
    if (!blank) {
      out.append(c);
    } else if (!out.isEmpty() && out[out.length() - 1] != ' ') {
      out.append(u' ');
    }
  }
  if (out.endsWith(u" ")) out.truncate(out.length() - 1);
  std::string utf8;
  return out.toUTF8String(utf8);
}

ClassNames read_class_names(const std::string& path) {
  const auto text = read_text(path);
  ClassNames classes;
  std::unordered_map<std::string, std::size_t> line_of;  // normalised name -> line
  const auto lines = lines_of(text);
  for (std::size_t line = 1; line <= lines.size(); ++line) {
    const auto where = "class_names: " + printable(path) + ":" + std::to_string(line) + ": ";
    auto rest = lines[line - 1];
    if (!is_utf8(rest)) throw ConfigError(where + "'" + printable(rest) + "' is not UTF-8");
    auto& names = classes.emplace_back();
    for (bool more = true; more;) {
      const auto bar = rest.find('|');
      more = bar != std::string_view::npos;
      const auto name = trimmed(rest.substr(0, bar));
      if (more) rest.remove_prefix(bar + 1);
      const auto normal = normalized_name(name);
      if (normal.empty()) throw ConfigError(where + "an empty name; each line names one class, its index is the line");
      const auto [other, fresh] = line_of.try_emplace(normal, line);
      if (!fresh) {
        throw ConfigError(where + "'" + printable(name) + "' stands in line " + std::to_string(other->second) +
                          " already (case, blanks, _ and - do not count); two classes need two names");
      }
      names.emplace_back(name);
    }
  }
  if (classes.empty()) throw ConfigError("class_names: " + printable(path) + " has no class; one a line is expected");
  return classes;
}

}  // namespace triptych
