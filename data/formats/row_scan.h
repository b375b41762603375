// Where the rows of a text file are, without understanding them: lines, CSV rows with newlines in quotes, elements of a
// JSON array. Reads in pieces; memory does not grow with the file or with a row.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "data/formats/input_file.h"

namespace triptych {

/// How rows are told apart. The numbers are stored in index files.
struct RowRule {
  enum class Kind : std::uint8_t {
    kLines = 1,        ///< every line, empty ones too: row i is line i + 1
    kCsv = 2,          ///< RFC 4180: a newline between quotes ends no row; empty lines are no rows
    kJson = 3,         ///< the elements of an array when the file begins with '[', lines that are not blank otherwise
    kFilledLines = 4,  ///< lines that are not blank
  };
  Kind kind = Kind::kLines;
  char delimiter = ',';  ///< kCsv
  bool quotes = true;    ///< kCsv; false: a quote is text and every line a row
  std::uint32_t number() const {
    return (quotes ? 0U : 1U << 16) | static_cast<std::uint32_t>(kind) << 8 | static_cast<unsigned char>(delimiter);
  }
};

inline constexpr std::int64_t kLongestRow = 16 << 20;       ///< bytes of a row that holds text only
inline constexpr std::int64_t kLongestQuotedRow = 1 << 20;  ///< a quote that is open for longer was never closed
inline constexpr std::int64_t kMostOpenRows = 1000;  ///< of one file, by a quote or bracket; CSV: or a tenth of all

struct RowSpan {
  std::int64_t begin = 0, end = 0;  ///< in bytes; may hold the line end, and a comma behind an element of an array
  std::int64_t line = 1;            ///< in which it begins, from 1
};

/// Calls row() for every row in order. A byte order mark is skipped. A CSV row whose quote is never closed (within
/// kLongestQuotedRow, or before the file ends), or closes only in another row as far as can be told, ends with its
/// first line, so that it costs no other row; an open row of a JSON array (by a line end in a string, within
/// kLongestRow, or before the file ends) ends where the next line begins with a '{' no further right than its own.
/// Throws DataError: the file cannot be read, has too many such rows, or an open row of a JSON array
/// hides others and there is no such line.
/// Returns xxh64 of the whole file.
std::uint64_t scan_rows(const InputFile& file, RowRule rule, const std::function<void(const RowSpan&)>& row);

/// `text` without the line ends, blanks and the one comma or bracket that may stand behind an element.
std::string_view trim_row(std::string_view text, RowRule rule);

}  // namespace triptych
