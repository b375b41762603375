// One pass over a file for each kind of row. Source of the CSV rules: RFC 4180, section 2.
#include "data/formats/row_scan.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

constexpr std::size_t kPiece = 256 << 10;

/// Bytes of a file by position, one piece held at a time; -1 behind the end. What is read is hashed once, in the order
/// of the file, however a scan goes back.
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

  /// xxh64 of the whole file; reads what no scan has read.
  std::uint64_t hash() {
    hash_up_to(-1);
    return hash_.value();
  }

 private:
  void load(std::int64_t position) {
    if (position > hashed_) hash_up_to(position);
    read(position);
  }
  void read(std::int64_t position) {
    piece_.resize(kPiece);
    piece_.resize(file_.read_at(position, piece_));
    begin_ = position;
    const auto known = hashed_ - begin_, size = static_cast<std::int64_t>(piece_.size());
    if (known < 0 || known >= size) return;
    hash_.add(piece_.data() + known, static_cast<std::size_t>(size - known));
    hashed_ = begin_ + size;
  }
  /// To the end of the file when `position` is negative.
  void hash_up_to(std::int64_t position) {
    while (position < 0 || hashed_ < position) {
      read(hashed_);
      if (piece_.empty()) return;
    }
  }

  const InputFile& file_;
  std::vector<unsigned char> piece_;
  std::int64_t begin_ = 0, hashed_ = 0;
  Xxh64 hash_;
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

/// One CSV row.
struct CsvRow {
  std::int64_t end = 0;      ///< behind its newline
  std::int64_t lines = 0;    ///< that end in it
  std::int64_t columns = 0;  ///< as its quotes have it
  std::int64_t walked = 0;   ///< bytes, also where an open quote ends it earlier
  bool open_quote = false;
};

/// A walk over one CSV row with quotes. A quote that was meant as text takes whole rows into its field, up to the next
/// quote; such a field is told by its lines, which are rows themselves.
class CsvWalk {
 public:
  /// `columns`: of the header; 0: this row is the header.
  CsvWalk(FileBytes& bytes, std::int64_t begin, char delimiter, std::int64_t columns)
      : bytes_(bytes), begin_(begin), delimiter_(static_cast<unsigned char>(delimiter)), columns_(columns) {}

  CsvRow run() {
    for (at_ = begin_;; ++at_) {
      const int byte = bytes_.at(at_);
      const bool endless = quoted_ && (byte < 0 || at_ - begin_ > kLongestQuotedRow);
      if (endless) return open_row();
      const bool line_ends = byte == '\n';
      if (!quoted_ && (line_ends || byte < 0)) return holds_rows() ? open_row() : whole_row(line_ends ? 1 : 0);
      if (line_ends) end_line();
      if (byte == delimiter_) ++line_columns_;
      step(byte);
      if (text_behind_quote_) return open_row();
    }
  }

 private:
  void step(int byte) {
    if (!quoted_) {
      quoted_ = byte == '"' && field_begins_;
      field_begins_ = byte == delimiter_;
      if (field_begins_) ++found_;
    } else if (byte == '"' && bytes_.at(at_ + 1) == '"') {
      ++at_;
    } else if (byte == '"') {
      quoted_ = false;
      text_behind_quote_ = lines_ > 0 && columns_ > 0 && !field_ends_at(at_ + 1);
    }
  }

  bool field_ends_at(std::int64_t at) {
    const int byte = bytes_.at(at);
    return byte < 0 || byte == '\n' || byte == delimiter_ || (byte == '\r' && bytes_.at(at + 1) == '\n');
  }

  void end_line() {
    if (lines_++ == 0) {
      first_line_end_ = at_ + 1;
      first_fits_ = line_columns_ == columns_;
    } else {
      ++inner_lines_;
      inner_fits_ += line_columns_ == columns_;
    }
    line_columns_ = 1;
  }

  /// By delimiters alone the first line and the last one are rows, and most of those between them. A caption of several
  /// lines lacks the other columns in its first or last one, unless it holds delimiters itself.
  bool holds_rows() const {
    return columns_ >= 2 && first_fits_ && inner_fits_ > 0 && 2 * inner_fits_ >= inner_lines_ &&
           line_columns_ == columns_;
  }

  /// Ends here, with a newline or with the file.
  CsvRow whole_row(int newline) const { return {at_ + newline, lines_ + newline, found_, at_ - begin_, false}; }
  CsvRow open_row() const {
    return {lines_ == 0 ? at_ : first_line_end_, lines_ == 0 ? 0 : 1, found_, at_ - begin_, true};
  }

  FileBytes& bytes_;
  const std::int64_t begin_;
  const int delimiter_;
  const std::int64_t columns_;
  std::int64_t at_ = 0, lines_ = 0, first_line_end_ = 0, found_ = 1;
  std::int64_t line_columns_ = 1, inner_lines_ = 0, inner_fits_ = 0;  // by delimiters, quoted or not
  bool quoted_ = false, field_begins_ = true, first_fits_ = false, text_behind_quote_ = false;
};

/// The rows of a file that a quote leaves open. Their lines are walked again, so there is a limit; and where there are
/// many, the quotes are hardly meant as such.
struct OpenQuotes {
  std::int64_t rows = 0, bytes = 0;
  bool too_many(std::int64_t of_rows) const {
    return rows > kMostOpenRows && (10 * rows > of_rows || bytes > kMostOpenRows * kLongestQuotedRow);
  }
};

void scan_csv(FileBytes& bytes, std::int64_t at, char delimiter, const std::string& path, const RowVisit& row) {
  std::int64_t line = 1, rows = 0, columns = 0;
  OpenQuotes open;
  while (bytes.at(at) >= 0) {
    const bool blank = bytes.at(at) == '\n' || (bytes.at(at) == '\r' && bytes.at(at + 1) == '\n');
    const auto walked = CsvWalk(bytes, at, delimiter, columns).run();
    if (!blank) ++rows;
    if (walked.open_quote) {
      ++open.rows;
      open.bytes += walked.walked;
    }
    if (walked.open_quote && open.too_many(rows)) {
      throw DataError(
          path + ":" + std::to_string(line) + ": more than " + std::to_string(kMostOpenRows) +
          " rows have a quote that is never closed; is this CSV with quotes by RFC 4180? If quotes are text "
          "in it, set quotes: none");
    }
    if (!blank) row({at, walked.end, line});
    if (!blank && columns == 0) columns = walked.columns;
    line += walked.lines;
    at = walked.end;
  }
}

/// CSV without quotes: lines that are not empty.
void scan_unquoted_csv(FileBytes& bytes, std::int64_t at, const RowVisit& row) {
  for (std::int64_t line = 1; bytes.at(at) >= 0; ++line) {
    const bool blank = bytes.at(at) == '\n' || (bytes.at(at) == '\r' && bytes.at(at + 1) == '\n');
    const auto end = bytes.behind_newline(at);
    if (!blank) row({at, end, line});
    at = end;
  }
}

/// A place in a file.
struct Place {
  std::int64_t at = 0, line = 1, line_begin = 0;
};

/// The elements of an array: everything between commas that stand outside strings and brackets. Where a lost quote or
/// bracket leaves a row open, the next line that looks like the beginning of a row ends it.
class ArrayScan {
 public:
  ArrayScan(FileBytes& bytes, const std::string& path, const RowVisit& row) : bytes_(bytes), path_(path), row_(row) {}

  /// `now_` is at the '['.
  void run(const Place& bracket) {
    now_ = bracket;
    for (++now_.at;; ++now_.at) {
      const int byte = bytes_.at(now_.at);
      if (byte < 0) {
        if (leave_at_end()) continue;
        return finish(now_.at);
      }
      if (byte == '\n') {
        ++now_.line;
        now_.line_begin = now_.at + 1;
      }
      if (leave_open_row(byte)) continue;
      if (!in_string_ && depth_ <= 0 && (byte == ',' || byte == ']')) {
        finish(now_.at);
        if (byte == ']') break;
        continue;
      }
      step(byte);
    }
    // What stands behind the array is no row; as one that begins with the bracket it will not parse, so it is counted.
    auto behind = now_.at + 1;
    while (is_blank(bytes_.at(behind))) ++behind;
    if (bytes_.at(behind) >= 0) row_({now_.at, behind, now_.line});
  }

 private:
  bool open() const { return begin_.at >= 0; }

  void step(int byte) {
    if (!open()) {
      if (is_blank(byte)) return;
      begin_ = now_;
      depth_ = 0;
    }
    if (in_string_) {
      const bool escape = byte == '\\' && bytes_.at(now_.at + 1) >= 0 && bytes_.at(now_.at + 1) != '\n';
      if (escape) ++now_.at;
      in_string_ = byte != '"';
    } else if (byte == '"') {
      in_string_ = true;
    } else if (byte == '{' || byte == '[') {
      ++depth_;
    } else if (byte == '}' || byte == ']') {
      --depth_;
    }
  }

  void finish(std::int64_t end) {
    if (open()) row_({begin_.at, end, begin_.line});
    begin_.at = -1;
    in_string_ = searched_ = false;
    depth_ = 0;
  }

  /// Ends the row where another one seems to begin, and goes on there.
  bool leave_for(const std::optional<Place>& next) {
    searched_ = true;
    if (!next) return false;
    finish(next->at);
    now_ = *next;
    --now_.at;
    return true;
  }

  void count_open_row() {
    if (++open_rows_ <= kMostOpenRows) return;
    throw DataError(path_ + ":" + std::to_string(begin_.line) + ": more than " + std::to_string(kMostOpenRows) +
                    " rows have a quote or a bracket that is never closed; is this a JSON array of objects?");
  }

  /// No string of JSON holds a line end, and a row that grows too long to be read is looked at again.
  bool leave_open_row(int byte) {
    if (!open() || searched_) return false;
    if (in_string_ && byte == '\n') {
      const Place line_end{now_.at, now_.line - 1, 0};
      count_open_row();
      return leave_for(next_row(line_end, now_.at + kLongestRow));
    }
    if (now_.at - begin_.at > kLongestRow && leave_for(next_row(begin_, now_.at))) {
      count_open_row();
      return true;
    }
    return false;
  }

  bool leave_at_end() {
    if (!open()) return false;
    if (!searched_) count_open_row();
    if (leave_for(next_row(begin_, now_.at))) return true;
    if (!hides_rows()) return false;
    throw DataError(path_ + ":" + std::to_string(begin_.line) +
                    ": the row has a quote or a bracket that is never closed, and no line behind it begins with a '{', "
                    "so the rows behind it cannot be told apart; close it, or write every row in a line of its own");
  }

  /// The next line behind `from` that begins with a '{' no further right than the open row: what belongs to a row
  /// stands further right.
  std::optional<Place> next_row(const Place& from, std::int64_t end) {
    const auto column = begin_.at - begin_.line_begin;
    auto line = from.line;
    for (auto at = bytes_.behind_newline(from.at); at < end && bytes_.at(at) >= 0; at = bytes_.behind_newline(at)) {
      const auto line_begin = at;
      ++line;
      while (at - line_begin < column && (bytes_.at(at) == ' ' || bytes_.at(at) == '\t')) ++at;
      if (bytes_.at(at) == '{') return Place{at, line, line_begin};
    }
    return std::nullopt;
  }

  /// Whether an array that is whole (what is cut ends in its last row) has other rows in its open one.
  bool hides_rows() {
    int last = 0;
    bool row = false;
    for (auto at = begin_.at; at < now_.at; ++at) {
      const int byte = bytes_.at(at);
      if (is_blank(byte)) continue;
      row |= last == ',' && byte == '{';
      last = byte;
    }
    return row && last == ']';
  }

  FileBytes& bytes_;
  const std::string& path_;
  const RowVisit& row_;
  Place now_, begin_{-1, 1, 0};  // begin_: of the row, when one is open
  std::int64_t depth_ = 0, open_rows_ = 0;
  bool in_string_ = false, searched_ = false;  // searched_: the open row, for another one's beginning
};

void scan_json(FileBytes& bytes, std::int64_t at, const std::string& path, const RowVisit& row) {
  Place first{at, 1, at};
  for (; is_blank(bytes.at(first.at)); ++first.at) {
    if (bytes.at(first.at) != '\n') continue;
    ++first.line;
    first.line_begin = first.at + 1;
  }
  bytes.at(first.at) == '[' ? ArrayScan(bytes, path, row).run(first) : scan_lines(bytes, at, true, row);
}

}  // namespace

std::uint64_t scan_rows(const InputFile& file, RowRule rule, const RowVisit& row) {
  FileBytes bytes(file);
  const auto begin = bytes.text_begin();
  switch (rule.kind) {
    case RowRule::Kind::kLines:
      scan_lines(bytes, begin, false, row);
      break;
    case RowRule::Kind::kFilledLines:
      scan_lines(bytes, begin, true, row);
      break;
    case RowRule::Kind::kCsv:
      rule.quotes ? scan_csv(bytes, begin, rule.delimiter, printable(file.path()), row)
                  : scan_unquoted_csv(bytes, begin, row);
      break;
    case RowRule::Kind::kJson:
      scan_json(bytes, begin, printable(file.path()), row);
      break;
  }
  return bytes.hash();
}

std::string_view trim_row(std::string_view text, RowRule rule) {
  const bool line = rule.kind == RowRule::Kind::kLines;
  const auto trim = [&](std::string_view bytes) {
    while (!text.empty() && bytes.find(text.back()) != std::string_view::npos) text.remove_suffix(1);
  };
  if (rule.kind == RowRule::Kind::kFilledLines) {  // blank lines behind the row too, but not the blanks of its own
    const auto last = text.find_last_not_of(" \t\r\n");
    if (last != std::string_view::npos) text = text.substr(0, text.find('\n', last));
    if (text.ends_with('\r')) text.remove_suffix(1);
  } else if (line) {
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
