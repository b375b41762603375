// The fields of one CSV row.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

/// Fields by RFC 4180: between `delimiter`s, in double quotes where they hold delimiters, line ends or (doubled)
/// quotes. A quote inside a field that does not begin with one is an ordinary byte. Throws DataError with the column: a
/// quote that is never closed, text behind a closing quote. Without `quotes` a quote is text wherever it stands.
std::vector<std::string> split_csv_row(std::string_view row, char delimiter, bool quotes = true);

}  // namespace triptych
