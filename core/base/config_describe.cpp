// The field list as help text and as Markdown.
#include "core/base/config_describe.h"

namespace triptych {
namespace {

std::string top_section(const std::string& path) {
  return path.substr(0, path.find_first_of(".["));
}

/// A '|' would end a table's cell, a '<' start HTML.
std::string cell(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '|') result += '\\';
    result += c == '<' ? "&lt;" : std::string(1, c);
  }
  return result;
}

std::string code(const std::string& text) {
  return text.empty() ? "" : "`" + cell(text) + "`";
}

std::string table_row(const FieldInfo& field) {
  return "| `" + field.path + "` | " + field.type + " | " + code(field.standard) + " | " + cell(field.allowed) + " | " +
         cell(field.help) + " |\n";
}

}  // namespace

UnionKeys union_keys(const FieldList& fields) {
  UnionKeys result;
  for (const auto& field : fields) {
    if (!field.tag_key.empty()) result[field.path] = field.tag_key;
  }
  return result;
}

std::string config_help(const FieldList& fields, const std::string& section) {
  std::string text, kind;
  for (const auto& field : fields) {
    if (!section.empty() && top_section(field.path) != section) continue;
    if (field.kind != kind && !field.kind.empty()) text += "with " + field.kind + "\n";
    kind = field.kind;
    text += field.path + "  (" + field.type + (field.allowed.empty() ? "" : ", " + field.allowed) +
            (field.standard.empty() ? "" : "; default " + field.standard) + ")\n      " + field.help + "\n";
  }
  return text;
}

std::string config_markdown(const FieldList& fields) {
  static const std::string kTableHead = "\n| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n";
  std::string text, section, kind;
  bool in_table = false;
  for (const auto& field : fields) {
    if (top_section(field.path) != section) {
      section = top_section(field.path);
      kind.clear();
      in_table = false;
      text += (text.empty() ? "## `" : "\n## `") + section + "`\n\n" + field.help + ".\n";
      if (field.path == section && field.type == "section") continue;
    }
    if (field.kind != kind) {
      kind = field.kind;
      in_table = false;
      if (!kind.empty()) text += "\nWith `" + kind + "`:\n";
    }
    if (!in_table) text += kTableHead;
    in_table = true;
    text += table_row(field);
  }
  return text;
}

}  // namespace triptych
