// A YAML document as a tree that remembers where every key and value was written. Stricter than YAML: no anchors,
// aliases, tags, merge keys, duplicate keys, tabs, second documents; at most 64 levels and 1 MiB.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

/// Where something was written: a file (with line and column from 1) or an option of the command line (line 0).
struct YamlPlace {
  std::shared_ptr<const std::string> source;
  int line = 0;
  int column = 0;
  std::string text() const;  ///< "configs/a.yaml:12:5" or "--set a.b=c"
};

struct YamlEntry;

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::string scalar;              ///< kScalar: its text
  bool quoted = false;             ///< kScalar: written in quotes or as a block, so it is text and nothing else
  bool inline_map = false;         ///< kMap: written on one line by dump_yaml
  std::vector<YamlNode> items;     ///< kList
  std::vector<YamlEntry> entries;  ///< kMap, in the order written
  YamlPlace place;

  bool is_map() const { return kind == Kind::kMap; }
  bool is_list() const { return kind == Kind::kList; }
  bool is_scalar() const { return kind == Kind::kScalar; }
  bool is_null() const { return kind == Kind::kNull; }
  /// The value of a key of this map, or nullptr.
  const YamlNode* find(std::string_view key) const;
  YamlNode* find(std::string_view key);
};

struct YamlEntry {
  std::string key;
  YamlPlace key_place;
  YamlNode value;
};

/// Nodes for dumps; they have no place.
YamlNode yaml_scalar(std::string text, bool quoted = false);
YamlNode yaml_map();
YamlNode yaml_list();

/// Reads one document; no `extends` (config_layers.h has it). An empty document is null. `source` names it in errors.
/// With `line` 0 (an option of the command line) places carry no lines. Throws ConfigError.
YamlNode parse_yaml(std::string_view text, const std::string& source, bool with_lines = true);

/// The same for a file. Throws ConfigError, also if the file cannot be read.
YamlNode parse_yaml_file(const std::filesystem::path& path);

/// Block style, short lists and durations on one line. parse_yaml() gives the same tree (but for places) again.
std::string dump_yaml(const YamlNode& root);
/// The same on one line: "{steps: 10}".
std::string flow_yaml(const YamlNode& node);

/// For error messages: "'abc'", "a list", "a section", "nothing". Always one line, long text cut.
std::string shown(const YamlNode& node);
/// Text in quotes with control characters escaped, cut after 80 bytes: one line, whatever it holds.
std::string shown(std::string_view text);

/// Dotted paths ("data.corpora.0.weight") whose values differ. Lists of different lengths differ as a whole.
std::vector<std::string> differences(const YamlNode& a, const YamlNode& b);

}  // namespace triptych
