// How a configuration is put together before it is read: files that extend files, then --set from the command line.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/base/yaml_tree.h"

namespace triptych {

/// Paths of the sections that are one of several kinds, and the key that says which: {"objective", "name"},
/// {"eval[]", "name"}. Where that key's value changes, the rest of the section has lost its meaning and is dropped.
/// A path with an empty key is a duration: its only key is its unit, so it is always replaced whole.
using UnionKeys = std::map<std::string, std::string>;

/// The file with what it `extends:` (a path relative to the file; that one may extend another) merged below it:
/// sections merge key by key, lists, durations and values are replaced, a section whose kind changes is replaced whole.
/// Throws ConfigError (unreadable file, circle).
YamlNode load_yaml_layers(const std::filesystem::path& path, const UnionKeys& unions);

/// Applies "a.b=c" of --set: `c` is read as YAML; list elements by index ("data.corpora.0.weight=2"). Missing sections
/// are made; whether the key exists is for the strict read to say. Assignments to a kind come first, then the others in
/// order.
void apply_assignments(YamlNode& root, const std::vector<std::string>& assignments, const UnionKeys& unions);

}  // namespace triptych
