// The tree itself: places, dumps, differences.
#include "core/base/yaml_tree.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace triptych {
namespace {

bool plain_number_or_word(std::string_view text) {
  static constexpr std::array kWords = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  for (const auto* word : kWords) {
    if (lower == word) return true;
  }
  return false;
}

/// True where every YAML reader agrees that the bare text is a string.
bool safe_bare(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '/'; };
  if (text.empty() || !letter(text.front()) || text.back() == ' ' || plain_number_or_word(text)) return false;
  for (const char c : text) {
    if (!letter(c) && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != ' ') return false;
  }
  return true;
}

std::string quoted_text(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\x%02x", byte);
      result += escape.data();
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string scalar_text(const YamlNode& node) {
  return node.quoted && !safe_bare(node.scalar) ? quoted_text(node.scalar) : node.scalar;
}

std::string key_text(const std::string& key) {
  return safe_bare(key) ? key : quoted_text(key);
}

bool on_one_line(const YamlNode& node) {
  if (node.is_scalar() || node.is_null()) return true;
  if (node.is_map()) return node.inline_map || node.entries.empty();
  for (const auto& item : node.items) {
    if (!item.is_scalar()) return false;
  }
  return true;
}

std::string flow_text(const YamlNode& node) {
  if (node.is_null()) return "null";
  if (node.is_scalar()) return scalar_text(node);
  std::string result;
  for (const auto& item : node.items) result += (result.empty() ? "" : ", ") + flow_text(item);
  for (const auto& entry : node.entries) {
    result += (result.empty() ? "" : ", ") + key_text(entry.key) + ": " + flow_text(entry.value);
  }
  return node.is_list() ? "[" + result + "]" : "{" + result + "}";
}

void dump_block(const YamlNode& node, std::size_t indent, std::string& out);

/// What follows "key:" or "-".
void dump_value(const YamlNode& node, std::size_t indent, std::string& out) {
  if (on_one_line(node)) {
    out += " " + flow_text(node) + "\n";
  } else {
    out += "\n";
    dump_block(node, indent, out);
  }
}

void dump_block(const YamlNode& node, std::size_t indent, std::string& out) {
  const std::string margin(indent, ' ');
  for (const auto& entry : node.entries) {
    out += margin + key_text(entry.key) + ":";
    dump_value(entry.value, indent + 2, out);
  }
  for (const auto& item : node.items) {
    if (item.is_map() && !on_one_line(item)) {  // "- first: 1" with the rest below it
      std::string block;
      dump_block(item, indent + 2, block);
      out += margin + "- " + block.substr(indent + 2);
    } else {
      out += margin + "-";
      dump_value(item, indent + 2, out);
    }
  }
}

void compare(const YamlNode& a, const YamlNode& b, const std::string& path, std::vector<std::string>& result) {
  const auto at = [&](const std::string& key) { return path.empty() ? key : path + "." + key; };
  if (a.kind != b.kind || (a.is_scalar() && a.scalar != b.scalar) ||
      (a.is_list() && a.items.size() != b.items.size())) {
    result.push_back(path);
    return;
  }
  for (std::size_t i = 0; i < a.items.size(); ++i) compare(a.items[i], b.items[i], at(std::to_string(i)), result);
  for (const auto& entry : a.entries) {
    const YamlNode* other = b.find(entry.key);
    if (other == nullptr) {
      result.push_back(at(entry.key));
    } else {
      compare(entry.value, *other, at(entry.key), result);
    }
  }
  for (const auto& entry : b.entries) {
    if (a.find(entry.key) == nullptr) result.push_back(at(entry.key));
  }
}

}  // namespace

std::string YamlPlace::text() const {
  const std::string name = source ? *source : "configuration";
  return line == 0 ? name : name + ":" + std::to_string(line) + ":" + std::to_string(column);
}

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const auto& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

YamlNode* YamlNode::find(std::string_view key) {
  return const_cast<YamlNode*>(std::as_const(*this).find(key));
}

YamlNode yaml_scalar(std::string text, bool quoted) {
  YamlNode node;
  node.kind = YamlNode::Kind::kScalar;
  node.scalar = std::move(text);
  node.quoted = quoted;
  return node;
}

YamlNode yaml_map() {
  YamlNode node;
  node.kind = YamlNode::Kind::kMap;
  return node;
}

YamlNode yaml_list() {
  YamlNode node;
  node.kind = YamlNode::Kind::kList;
  return node;
}

std::string flow_yaml(const YamlNode& node) {
  return flow_text(node);
}

std::string dump_yaml(const YamlNode& root) {
  if (on_one_line(root)) return flow_text(root) + "\n";
  std::string out;
  dump_block(root, 0, out);
  return out;
}

std::string shown(std::string_view text) {
  constexpr std::size_t kMost = 80;
  std::size_t size = std::min(text.size(), kMost);
  while (size < text.size() && size > kMost - 4 && (static_cast<unsigned char>(text[size]) & 0xc0u) == 0x80u) --size;
  std::string result = "'";
  for (const char c : text.substr(0, size)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && text.size() == 1)) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\x%02x", byte);
      result += escape.data();
    } else {
      result += c;
    }
  }
  return result + (size < text.size() ? "...'" : "'");
}

std::string shown(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kScalar:
      return shown(node.scalar);
    case YamlNode::Kind::kList:
      return "a list of " + std::to_string(node.items.size());
    case YamlNode::Kind::kMap:
      break;
  }
  return node.entries.size() == 1 ? "{" + node.entries[0].key + ": ...}" : "a section";
}

std::vector<std::string> differences(const YamlNode& a, const YamlNode& b) {
  std::vector<std::string> result;
  compare(a, b, "", result);
  return result;
}

}  // namespace triptych
