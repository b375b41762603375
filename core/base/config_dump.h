// From configuration structs back to YAML, by the same field lists that the reader uses (core/base/config.h).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/config.h"
#include "core/base/config_values.h"
#include "core/base/duration.h"
#include "core/base/strings.h"
#include "core/base/yaml_tree.h"

namespace triptych {

/// A visitor that does nothing: asks whether a type has a field list.
struct IgnoreFields {
  template <class... Arguments>
  void operator()(Arguments&&...) const {}
};
/// A struct with a field list.
template <class T>
concept Section = requires(T& section) {
  T::fields(section, IgnoreFields{});
};

template <class T>
inline constexpr bool kIsVariant = false;
template <class... Kinds>
inline constexpr bool kIsVariant<std::variant<Kinds...>> = true;

/// The key that tells the kinds of a union apart; the same in all of them.
template <class First, class... Rest>
constexpr const char* union_tag_key() {
  static_assert(((std::string_view(First::kTagKey) == std::string_view(Rest::kTagKey)) && ...),
                "the alternatives of a union share one kTagKey");
  return First::kTagKey;
}

inline YamlNode write_value(bool value) {
  return yaml_scalar(value ? "true" : "false");
}
inline YamlNode write_value(std::int64_t value) {
  return yaml_scalar(std::to_string(value));
}
inline YamlNode write_value(double value) {
  return yaml_scalar(number_text(value));
}
inline YamlNode write_value(const std::string& value) {
  return write_text(value);
}
inline YamlNode write_value(const std::filesystem::path& value) {
  return write_text(value.string());
}
inline YamlNode write_value(const Duration& value) {
  return write_duration(value);
}
template <class T>
YamlNode write_value(const std::optional<T>& value);
template <class T>
YamlNode write_value(const std::vector<T>& value);
template <class T, std::size_t n>
YamlNode write_value(const std::array<T, n>& value);
template <class... Kinds>
YamlNode write_value(const std::variant<Kinds...>& value);

template <Section T>
YamlNode write_value(const T& value) {
  YamlNode node = yaml_map();
  T::fields(value, [&](const char* key, const auto& member, const char*, const Limit& = {}) {
    node.entries.push_back({key, {}, write_value(member)});
  });
  return node;
}

template <class T>
YamlNode write_value(const std::optional<T>& value) {
  return value ? write_value(*value) : YamlNode{};
}

template <class T>
YamlNode write_value(const std::vector<T>& value) {
  YamlNode node = yaml_list();
  for (const auto& element : value) node.items.push_back(write_value(element));
  return node;
}

template <class T, std::size_t n>
YamlNode write_value(const std::array<T, n>& value) {
  YamlNode node = yaml_list();
  for (const auto& element : value) node.items.push_back(write_value(element));
  return node;
}

template <class... Kinds>
YamlNode write_value(const std::variant<Kinds...>& value) {
  return std::visit(
      [](const auto& kind) {
        YamlNode node = write_value(kind);
        node.entries.insert(node.entries.begin(), {kind.kTagKey, {}, write_text(kind.kTag)});
        return node;
      },
      value);
}

/// Every field with its value, defaults included.
template <Section T>
YamlNode config_tree(const T& config) {
  return write_value(config);
}

/// The same as YAML; parse_config gives an equal configuration, bit by bit.
template <Section T>
std::string config_text(const T& config) {
  return dump_yaml(config_tree(config));
}

}  // namespace triptych
