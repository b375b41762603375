// How results reach stdout: one JSON object, or the same as tables for people.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "apps/command_line.h"

namespace triptych {

/// For people: plain values as "key  value" lines, an object as a titled block of such lines, a list of objects as a
/// titled table with a column per key, a list of plain values on one line. Numbers to four significant digits.
std::string table_text(const nlohmann::ordered_json& result);

/// Writes `result` to stdout and flushes. Throws StorageError when stdout cannot be written (a full disk).
void print_result(const nlohmann::ordered_json& result, Format format);
void print_text(const std::string& text);

}  // namespace triptych
