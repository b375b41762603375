// Renders a JSON object as aligned text.
#include "apps/result.h"

#include <cstdio>
#include <vector>

#include "core/base/errors.h"
#include "data/formats/printable.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

std::string cell(const Json& value) {
  // Captions and names from files may steer a terminal.
  if (value.is_string()) return printable_whole(value.get_ref<const std::string&>());
  if (value.is_null()) return "-";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_float()) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.4g", value.get<double>());
    return text;
  }
  if (value.is_array()) {
    std::string joined;
    for (const auto& item : value) joined += (joined.empty() ? "" : ", ") + cell(item);
    return joined.empty() ? "none" : joined;
  }
  return value.dump();
}

/// Columns on a terminal: bytes that do not continue a UTF-8 character.
std::size_t width(const std::string& text) {
  std::size_t columns = 0;
  for (const char c : text) columns += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return columns;
}

std::string padded(const std::string& text, std::size_t columns) {
  return text + std::string(columns > width(text) ? columns - width(text) : 0, ' ');
}

std::string pair_lines(const Json& object, const std::string& indent) {
  std::size_t widest = 0;
  for (const auto& [key, value] : object.items()) widest = std::max(widest, width(key));
  std::string text;
  for (const auto& [key, value] : object.items()) {
    text += indent + padded(printable_whole(key), widest) + "  " + cell(value) + "\n";
  }
  return text;
}

std::string columns_text(const Json& rows) {
  std::vector<std::string> keys;
  for (const auto& row : rows) {
    for (const auto& [key, value] : row.items()) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  }
  std::vector<std::vector<std::string>> lines = {keys};
  for (const auto& row : rows) {
    lines.emplace_back();
    for (const auto& key : keys) lines.back().push_back(row.contains(key) ? cell(row[key]) : "-");
  }
  std::string text;
  for (const auto& line : lines) {
    text += " ";
    for (std::size_t column = 0; column < keys.size(); ++column) {
      std::size_t widest = 0;
      for (const auto& other : lines) widest = std::max(widest, width(other[column]));
      text += " " + (column + 1 < keys.size() ? padded(line[column], widest) + " " : line[column]);
    }
    text += "\n";
  }
  return text;
}

bool is_table(const Json& value) {
  return value.is_array() && !value.empty() && value.front().is_object();
}

}  // namespace

std::string table_text(const Json& result) {
  Json plain = Json::object();
  std::string blocks;
  for (const auto& [key, value] : result.items()) {
    if (is_table(value)) {
      blocks += "\n" + printable_whole(key) + "\n" + columns_text(value);
    } else if (value.is_object()) {
      blocks += "\n" + printable_whole(key) + "\n" + pair_lines(value, "  ");
    } else {
      plain[key] = value;
    }
  }
  const std::string head = pair_lines(plain, "");
  return head.empty() && !blocks.empty() ? blocks.substr(1) : head + blocks;
}

void print_text(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw StorageError("cannot write the result to stdout");
  }
}

void print_result(const Json& result, Format format) {
  // Names from files may hold broken UTF-8: shown as the replacement character, never an exception.
  print_text(format == Format::kJson ? result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                                     : table_text(result));
}

}  // namespace triptych
