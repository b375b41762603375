// Source: RFC 4180, section 2.
#include "data/formats/csv_row.h"

#include "core/base/errors.h"

namespace triptych {
namespace {

[[noreturn]] void fail(std::size_t column, const std::string& what) {
  throw DataError("column " + std::to_string(column) + ": " + what);
}

/// Takes a quoted field, whose first quote was taken, off the front of `rest`, its closing quote included.
std::string take_quoted(std::string_view& rest, std::size_t column) {
  std::string field;
  while (true) {
    const auto quote = rest.find('"');
    if (quote == std::string_view::npos) fail(column, "a quote is never closed; quotes: none takes quotes as text");
    field += rest.substr(0, quote);
    rest.remove_prefix(quote + 1);
    if (!rest.starts_with('"')) return field;
    field += '"';
    rest.remove_prefix(1);
  }
}

}  // namespace

std::vector<std::string> split_csv_row(std::string_view row, char delimiter, bool quotes) {
  std::vector<std::string> fields;
  while (true) {
    if (quotes && row.starts_with('"')) {
      row.remove_prefix(1);
      fields.push_back(take_quoted(row, fields.size() + 1));
      if (!row.empty() && row[0] != delimiter) fail(fields.size(), "text stands behind a closing quote");
    } else {
      fields.emplace_back(row.substr(0, row.find(delimiter)));
      row.remove_prefix(fields.back().size());
    }
    if (row.empty()) return fields;
    row.remove_prefix(1);
  }
}

}  // namespace triptych
