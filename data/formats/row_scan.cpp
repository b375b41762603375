// One pass over a file for each kind of row. Source of the CSV rules: RFC 4180, section 2.
#include "data/formats/row_scan.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/base/errors.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

constexpr std::size_t kPiece = 256 << 10;

/// Bytes of a file by position, one piece held at a time; -1 behind the end.
class FileBytes {
 public:
  explicit FileBytes(const InputFile& file) : file_(file) {}

  int at(std::int64_t position) {
    const auto i = position - begin_;
    if (i >= 0 && i < static_cast<std::int64_t>(piece_.size())) return piece_[static_cast<std::size_t>(i)];
    load(position);
    return piece_.empty() ? -1 : piece_[0];
  }
  /// Behind the next newline at or after `position`; the end of the file when there is none.
  std::int64_t behind_newline(std::int64_t position) {
    while (at(position) >= 0) {
      const auto from = static_cast<std::size_t>(position - begin_);
      const auto* found = std::memchr(piece_.data() + from, '\n', piece_.size() - from);
      if (found) return begin_ + (static_cast<const unsigned char*>(found) - piece_.data()) + 1;
      position = begin_ + static_cast<std::int64_t>(piece_.size());
    }
    return position;
  }
  /// Where the text begins: behind a byte order mark.
  std::int64_t text_begin() { return at(0) == 0xEF && at(1) == 0xBB && at(2) == 0xBF ? 3 : 0; }

 private:
  void load(std::int64_t position) {
    piece_.resize(kPiece);
    piece_.resize(file_.read_at(position, piece_));
    begin_ = position;
  }

  const InputFile& file_;
  std::vector<unsigned char> piece_;
  std::int64_t begin_ = 0;
};

using RowVisit = std::function<void(const RowSpan&)>;

bool is_blank(int byte) {
  return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

/// Lines; with `skip_blank` only those that hold more than blanks.
void scan_lines(FileBytes& bytes, std::int64_t at, bool skip_blank, const RowVisit& row) {
  for (std::int64_t line = 1; bytes.at(at) >= 0; ++line) {
    const auto end = bytes.behind_newline(at);
    auto text = at;
    while (skip_blank && text < end && is_blank(bytes.at(text))) ++text;
    if (!skip_blank || text < end) row({at, end, line});
    at = end;
  }
}

/// A walk over one CSV row.
struct CsvRow {
  std::int64_t end = 0;    ///< behind its newline
  std::int64_t lines = 0;  ///< that end in it
  bool open_quote = false;
};

CsvRow walk_csv_row(FileBytes& bytes, std::int64_t begin, char delimiter) {
  bool quoted = false, field_begins = true;
  std::int64_t lines = 0, first_line_end = -1;
  for (auto at = begin;; ++at) {
    const int byte = bytes.at(at);
    const bool endless = quoted && (byte < 0 || at - begin > kLongestQuotedRow);
    if (endless) return {first_line_end < 0 ? at : first_line_end, first_line_end < 0 ? 0 : 1, true};
    if (byte < 0) return {at, lines, false};
    if (byte == '\n') {
      ++lines;
      if (!quoted) return {at + 1, lines, false};
      if (first_line_end < 0) first_line_end = at + 1;
    }
    if (quoted) {
      const bool escaped = byte == '"' && bytes.at(at + 1) == '"';
      if (escaped) ++at;
      quoted = byte != '"' || escaped;
    } else {
      quoted = byte == '"' && field_begins;
      field_begins = byte == static_cast<unsigned char>(delimiter);
    }
  }
}

void scan_csv(FileBytes& bytes, std::int64_t at, char delimiter, const std::string& path, const RowVisit& row) {
  std::int64_t line = 1, open_quotes = 0;
  while (bytes.at(at) >= 0) {
    const bool blank = bytes.at(at) == '\n' || (bytes.at(at) == '\r' && bytes.at(at + 1) == '\n');
    const auto walked = walk_csv_row(bytes, at, delimiter);
    if (walked.open_quote && ++open_quotes > kMostOpenQuotes) {
      throw DataError(path + ":" + std::to_string(line) + ": more than " + std::to_string(kMostOpenQuotes) +
                      " rows have a quote that is never closed; is this CSV with quotes by RFC 4180?");
    }
    if (!blank) row({at, walked.end, line});
    line += walked.lines;
    at = walked.end;
  }
}

/// The elements of an array whose '[' is at `at`: everything between commas that stand outside strings and brackets.
void scan_array(FileBytes& bytes, std::int64_t at, std::int64_t line, const RowVisit& row) {
  std::int64_t depth = 0, begin = -1, begin_line = 0;
  bool in_string = false;
  const auto finish = [&](std::int64_t end) {
    if (begin >= 0) row({begin, end, begin_line});
    begin = -1;
  };
  for (++at;; ++at) {
    const int byte = bytes.at(at);
    if (byte < 0) return finish(at);
    if (byte == '\n') ++line;
    if (!in_string && depth <= 0 && (byte == ',' || byte == ']')) {
      finish(at);
      if (byte == ']') break;
      continue;
    }
    if (begin < 0) {
      if (is_blank(byte)) continue;
      begin = at, begin_line = line, depth = 0;
    }
    if (in_string) {
      if (byte == '\\' && bytes.at(at + 1) >= 0) ++at;
      in_string = byte != '"';
    } else if (byte == '"') {
      in_string = true;
    } else if (byte == '{' || byte == '[') {
      ++depth;
    } else if (byte == '}' || byte == ']') {
      --depth;
    }
  }
  // What stands behind the array is no row; as one that begins with the bracket it will not parse, so it is counted.
  auto behind = at + 1;
  while (is_blank(bytes.at(behind))) ++behind;
  if (bytes.at(behind) >= 0) row({at, behind, line});
}

void scan_json(FileBytes& bytes, std::int64_t at, const RowVisit& row) {
  auto first = at;
  std::int64_t line = 1;
  for (; is_blank(bytes.at(first)); ++first) line += bytes.at(first) == '\n';
  bytes.at(first) == '[' ? scan_array(bytes, first, line, row) : scan_lines(bytes, at, true, row);
}

}  // namespace

void scan_rows(const InputFile& file, RowRule rule, const RowVisit& row) {
  FileBytes bytes(file);
  const auto begin = bytes.text_begin();
  switch (rule.kind) {
    case RowRule::Kind::kLines:
      return scan_lines(bytes, begin, false, row);
    case RowRule::Kind::kCsv:
      return scan_csv(bytes, begin, rule.delimiter, printable(file.path()), row);
    case RowRule::Kind::kJson:
      return scan_json(bytes, begin, row);
  }
}

std::string_view trim_row(std::string_view text, RowRule rule) {
  const bool line = rule.kind == RowRule::Kind::kLines;
  const auto trim = [&](std::string_view bytes) {
    while (!text.empty() && bytes.find(text.back()) != std::string_view::npos) text.remove_suffix(1);
  };
  if (line) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    if (text.ends_with('\r')) text.remove_suffix(1);
  } else if (rule.kind == RowRule::Kind::kCsv) {
    trim("\r\n");  // empty lines behind the row too
  } else {
    trim(" \t\r\n");
    if (text.ends_with(',')) text.remove_suffix(1);
    trim(" \t\r\n");
  }
  return text;
}

}  // namespace triptych
