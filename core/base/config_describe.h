// What a configuration may hold, as a list: for --help, for docs/config_reference.md, and for extends and --set, which
// must know the sections that come in kinds.
#pragma once
#include <array>
#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/config.h"
#include "core/base/config_dump.h"
#include "core/base/config_layers.h"
#include "core/base/config_values.h"
#include "core/base/duration.h"

namespace triptych {

struct FieldInfo {
  std::string path = {};      ///< "optimizer.lr"; elements of lists as "eval[].every"
  std::string kind = {};      ///< "objective.name: unicl": only in this alternative of a union. Empty: always
  std::string type = {};      ///< "number", "list of text", "duration", "section", ...
  std::string standard = {};  ///< default as YAML; empty for sections
  std::string allowed = {};   ///< bounds, choices, kinds of a union
  std::string help = {};
  std::string tag_key = {};  ///< of a union: the key that tells the kinds apart
};

template <class T>
concept Leaf = std::same_as<T, bool> || std::same_as<T, std::int64_t> || std::same_as<T, double> ||
    std::same_as<T, std::string> || std::same_as<T, std::filesystem::path> || std::same_as<T, Duration>;

template <Leaf T>
constexpr const char* leaf_name() {
  if constexpr (std::same_as<T, bool>) return "true or false";
  if constexpr (std::same_as<T, std::int64_t>) return "whole number";
  if constexpr (std::same_as<T, double>) return "number";
  if constexpr (std::same_as<T, std::string>) return "text";
  if constexpr (std::same_as<T, std::filesystem::path>) return "path";
  return "duration";
}

using FieldList = std::vector<FieldInfo>;

template <class T>
void describe_value(FieldInfo about, const Limit& limit, const std::optional<T>& value, FieldList& out);
template <class T>
void describe_value(FieldInfo about, const Limit& limit, const std::vector<T>& value, FieldList& out);
template <class T, std::size_t n>
void describe_value(FieldInfo about, const Limit& limit, const std::array<T, n>& value, FieldList& out);
template <class... Kinds>
void describe_value(FieldInfo about, const Limit& limit, const std::variant<Kinds...>& value, FieldList& out);

/// Appends `about` (path, kind and help are given) with its type and default, then whatever lies below it.
template <Leaf T>
void describe_value(FieldInfo about, const Limit& limit, const T& value, FieldList& out) {
  about.type = leaf_name<T>();
  about.standard = flow_yaml(write_value(value));
  about.allowed = limit_text(limit);
  out.push_back(std::move(about));
}

template <Section T>
void describe_fields(const std::string& path, const std::string& kind, const T& section, FieldList& out) {
  T::fields(section, [&](const char* key, const auto& member, const char* help, const Limit& limit = {}) {
    describe_value({.path = config_path(path, key), .kind = kind, .help = help}, limit, member, out);
  });
}

template <Section T>
void describe_value(FieldInfo about, const Limit&, const T& value, FieldList& out) {
  const auto path = about.path, kind = about.kind;
  about.type = "section";
  out.push_back(std::move(about));
  describe_fields(path, kind, value, out);
}

template <class T>
void describe_value(FieldInfo about, const Limit& limit, const std::optional<T>& value, FieldList& out) {
  const auto first = out.size();
  describe_value(std::move(about), limit, value.value_or(T{}), out);
  out[first].type += " or null";
  if (!value) out[first].standard = "null";
}

template <class T>
void describe_value(FieldInfo about, const Limit& limit, const std::vector<T>& value, FieldList& out) {
  if constexpr (Leaf<T>) {
    about.type = std::string("list of ") + leaf_name<T>();
    about.standard = flow_yaml(write_value(value));
    about.allowed = limit_text(limit);
    out.push_back(std::move(about));
  } else {
    FieldInfo element = about;
    element.path += "[]";
    about.type = "list";
    if (value.empty()) about.standard = "[]";
    out.push_back(std::move(about));
    describe_value(std::move(element), limit, T{}, out);
  }
}

template <class T, std::size_t n>
void describe_value(FieldInfo about, const Limit& limit, const std::array<T, n>& value, FieldList& out) {
  static_assert(Leaf<T>, "an array of fixed length holds numbers or words");
  about.type = "list of " + std::to_string(n) + ": " + leaf_name<T>();
  about.standard = flow_yaml(write_value(value));
  about.allowed = limit_text(limit);
  out.push_back(std::move(about));
}

template <class... Kinds>
void describe_value(FieldInfo about, const Limit&, const std::variant<Kinds...>& value, FieldList& out) {
  const auto path = about.path;
  about.tag_key = union_tag_key<Kinds...>();
  about.type = "section by " + about.tag_key;
  about.allowed = about.tag_key + ": " + join({Kinds::kTag...}, ", ");
  const auto prefix = (about.kind.empty() ? "" : about.kind + ", ") + config_path(path, about.tag_key) + ": ";
  out.push_back(std::move(about));
  const auto describe_kind = [&]<class Kind>() {
    const auto* chosen = std::get_if<Kind>(&value);
    describe_fields(path, prefix + Kind::kTag, chosen ? *chosen : Kind{}, out);
  };
  (describe_kind.template operator()<Kinds>(), ...);
}

/// Every field of a configuration, sections before their fields.
template <Section T>
FieldList describe_config() {
  FieldList fields;
  describe_fields("", "", T{}, fields);
  return fields;
}

/// The unions among the fields, as load_yaml_layers and apply_assignments want them.
UnionKeys union_keys(const FieldList& fields);

/// For --help: one field a line, of the section `section` ("optimizer") or of all (empty).
std::string config_help(const FieldList& fields, const std::string& section = "");

/// For docs/config_reference.md: a heading and a table for each top-level section, a table for each kind of a union.
std::string config_markdown(const FieldList& fields);

}  // namespace triptych
