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

std::string sentence(std::string text) {
  if (text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text.back() == '.' ? text : text + ".";
}

std::string table_row(const FieldInfo& field) {
  return "| `" + field.path + "` | " + field.type + " | " + code(field.standard) + " | " + cell(field.allowed) + " | " +
         cell(field.help) + " |\n";
}

/// Heading, the table of what is always there, then a table for each kind in which there is more.
std::string section_markdown(const std::string& section, const FieldList& fields) {
  static const std::string kTableHead = "\n| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n";
  std::string heading = "## `" + section + "`\n", always, by_kind, kind;
  for (const auto& field : fields) {
    if (top_section(field.path) != section) continue;
    if (field.path == section && !field.help.empty()) heading += "\n" + sentence(field.help) + "\n";
    if (field.path == section && field.type == "section") continue;
    if (!field.kind.empty() && field.kind != kind) by_kind += "\nWith `" + field.kind + "`:\n" + kTableHead;
    kind = field.kind;
    (kind.empty() ? always : by_kind) += table_row(field);
  }
  return heading + (always.empty() ? "" : kTableHead + always) + by_kind;
}

}  // namespace

UnionKeys union_keys(const FieldList& fields) {
  UnionKeys result;
  for (const auto& field : fields) {
    if (!field.tag_key.empty() || field.type.starts_with("duration")) result[field.path] = field.tag_key;
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
  std::vector<std::string> sections;
  for (const auto& field : fields) {
    const auto section = top_section(field.path);
    if (sections.empty() || sections.back() != section) sections.push_back(section);
  }
  std::string text;
  for (const auto& section : sections) text += (text.empty() ? "" : "\n") + section_markdown(section, fields);
  return text;
}

}  // namespace triptych
