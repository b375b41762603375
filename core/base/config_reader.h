// The strict reader of configuration structs, from the one field list that each section declares (core/base/config.h):
//   auto config = load_config<TrainConfig>("configs/a.yaml", {"optimizer.lr=1e-3"});
//   write_file_atomically(run_dir / "config.yaml", config_text(config));
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/config.h"
#include "core/base/config_describe.h"
#include "core/base/config_dump.h"
#include "core/base/config_layers.h"
#include "core/base/config_values.h"
#include "core/base/duration.h"
#include "core/base/yaml_tree.h"

namespace triptych {

// ---- Reading one value: an overload per type that a field may have ----

inline void read_value(const YamlNode& node, const std::string& path, const Limit&, bool& out) {
  out = read_bool(node, path);
}
inline void read_value(const YamlNode& node, const std::string& path, const Limit& limit, std::int64_t& out) {
  out = read_integer(node, path, limit);
}
inline void read_value(const YamlNode& node, const std::string& path, const Limit& limit, double& out) {
  out = read_number(node, path, limit);
}
inline void read_value(const YamlNode& node, const std::string& path, const Limit& limit, std::string& out) {
  out = read_text(node, path, limit);
}
inline void read_value(const YamlNode& node, const std::string& path, const Limit& limit, std::filesystem::path& out) {
  out = read_text(node, path, limit);
}
inline void read_value(const YamlNode& node, const std::string& path, const Limit&, Duration& out) {
  out = read_duration(node, path);
}
template <class T>
void read_value(const YamlNode& node, const std::string& path, const Limit& limit, std::optional<T>& out);
template <class T>
void read_value(const YamlNode& node, const std::string& path, const Limit& limit, std::vector<T>& out);
template <class T, std::size_t n>
void read_value(const YamlNode& node, const std::string& path, const Limit& limit, std::array<T, n>& out);
template <class... Kinds>
void read_value(const YamlNode& node, const std::string& path, const Limit& limit, std::variant<Kinds...>& out);
template <Section T>
void read_value(const YamlNode& node, const std::string& path, const Limit& limit, T& out);

/// Reads the keys of one section (but for `tag_key`, which was read) into `out`, then validates it.
template <Section T>
void read_section(const YamlNode& node, const std::string& path, const std::string& tag_key, T& out) {
  SectionReader section(node, path, tag_key);
  T::fields(out, [&](const char* key, auto& member, const char*, const Limit& limit = {}) {
    using Member = std::remove_reference_t<decltype(member)>;
    if (const YamlNode* value = section.take(key)) {
      read_value(*value, section.path_of(key), limit, member);
    } else if constexpr (Section<Member>) {  // its defaults must be valid too
      read_section(section.empty_section(), section.path_of(key), "", member);
    } else if constexpr (kIsVariant<Member>) {
      std::visit([&](auto& kind) { read_section(section.empty_section(), section.path_of(key), "", kind); }, member);
    }
  });
  section.finish();
  if constexpr (requires { out.validate(); }) section.run_validate([&] { out.validate(); });
}

template <Section T>
void read_value(const YamlNode& node, const std::string& path, const Limit&, T& out) {
  read_section(node, path, "", out);
}

template <class T>
void read_value(const YamlNode& node, const std::string& path, const Limit& limit, std::optional<T>& out) {
  if (node.is_null()) {
    out.reset();
  } else {
    read_value(node, path, limit, out ? *out : out.emplace());
  }
}

template <class T>
void read_value(const YamlNode& node, const std::string& path, const Limit& limit, std::vector<T>& out) {
  expect_list(node, path);
  out.clear();
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    T element{};  // not emplace_back(): std::vector<bool> has no element to refer to
    read_value(node.items[i], config_path(path, std::to_string(i)), limit, element);
    out.push_back(std::move(element));
  }
}

template <class T, std::size_t n>
void read_value(const YamlNode& node, const std::string& path, const Limit& limit, std::array<T, n>& out) {
  expect_list(node, path, static_cast<std::int64_t>(n));
  for (std::size_t i = 0; i < n; ++i) {
    read_value(node.items[i], config_path(path, std::to_string(i)), limit, out[i]);
  }
}

template <class... Kinds>
void read_value(const YamlNode& node, const std::string& path, const Limit&, std::variant<Kinds...>& out) {
  const auto chosen = read_tag(node, path, union_tag_key<Kinds...>(), {Kinds::kTag...});
  std::size_t index = 0;
  const auto read_if_chosen = [&]<class Kind>() {
    if (index++ != chosen) return;
    if (!std::holds_alternative<Kind>(out)) out = Kind{};
    read_section(node, path, union_tag_key<Kinds...>(), std::get<Kind>(out));
  };
  (read_if_chosen.template operator()<Kinds>(), ...);
}

// ---- Whole configurations ----

/// Strict read: what the tree does not name keeps its default; an empty document names nothing. Throws ConfigError.
template <Section T>
T read_config(const YamlNode& root) {
  T config;
  read_section(root.is_null() ? yaml_map() : root, "", "", config);
  return config;
}

/// Strict read of text without `extends`, such as a run's resolved config.yaml. `source` names it in errors.
template <Section T>
T parse_config(std::string_view text, const std::string& source) {
  return read_config<T>(parse_yaml(text, source));
}

/// A file with what it extends and the --set assignments ("optimizer.lr=1e-3"), read strictly. Throws ConfigError.
template <Section T>
T load_config(const std::filesystem::path& path, const std::vector<std::string>& assignments = {}) {
  const auto unions = union_keys(describe_config<T>());
  YamlNode root = load_yaml_layers(path, unions);
  apply_assignments(root, assignments, unions);
  return read_config<T>(root);
}

}  // namespace triptych
