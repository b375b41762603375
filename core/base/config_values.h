// What the strict reader does with one value, free of templates; config_reader.h builds on it. Every error is a
// ConfigError of one line: place, dotted path, what was got, what is allowed.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/config.h"
#include "core/base/duration.h"
#include "core/base/yaml_tree.h"

namespace triptych {

[[noreturn]] void config_error(const YamlPlace& place, const std::string& path, const std::string& message);

/// "a.b"; `key` alone at the root.
std::string config_path(const std::string& section, std::string_view key);

bool read_bool(const YamlNode& node, const std::string& path);
std::int64_t read_integer(const YamlNode& node, const std::string& path, const Limit& limit);
double read_number(const YamlNode& node, const std::string& path, const Limit& limit);
std::string read_text(const YamlNode& node, const std::string& path, const Limit& limit);
Duration read_duration(const YamlNode& node, const std::string& path);
/// Throws unless `node` is a list, of `size` elements if that is not negative.
void expect_list(const YamlNode& node, const std::string& path, std::int64_t size = -1);
/// Which of `tags` the section's key `tag_key` names. Throws if it is missing or unknown.
std::size_t read_tag(const YamlNode& node, const std::string& path, const std::string& tag_key,
                     const std::vector<std::string>& tags);

YamlNode write_text(const std::string& text);
YamlNode write_duration(const Duration& duration);

/// ">= 1", "between 0 and 1", "one of cosine, constant"; empty if anything goes.
std::string limit_text(const Limit& limit);

/// Hands out the values of one section by key and finds the keys that nobody asked for.
class SectionReader {
 public:
  /// Throws unless `node` is a map. `tag_key` (may be empty) was read already.
  SectionReader(const YamlNode& node, std::string path, const std::string& tag_key);
  /// The value of `key`, or nullptr if the section does not have it.
  const YamlNode* take(const std::string& key);
  std::string path_of(const std::string& key) const { return config_path(path_, key); }
  /// An empty section at this section's place: what a missing inner section is read from.
  YamlNode empty_section() const;
  /// Throws if a key was not taken.
  void finish() const;
  /// Runs a section's validate() and gives its FieldError the place and the path.
  void run_validate(const std::function<void()>& validate) const;

 private:
  const YamlNode& node_;
  std::string path_;
  std::vector<std::string> known_;
};

}  // namespace triptych
