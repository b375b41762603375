// extends and --set.
#include "core/base/config_layers.h"

#include <algorithm>
#include <optional>
#include <system_error>
#include <utility>

#include "core/base/errors.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const YamlPlace& place, const std::string& message) {
  throw ConfigError(place.text() + ": " + message);
}

std::string below(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + "." + key;
}

/// Whether what is below the base's key has lost its meaning.
bool changes_kind(const YamlNode& base, const YamlNode& over, const std::string& path, const UnionKeys& unions) {
  const auto tag = unions.find(path);
  if (tag == unions.end()) return false;
  if (tag->second.empty()) return true;
  const YamlNode* old_kind = base.find(tag->second);
  const YamlNode* new_kind = over.find(tag->second);
  return old_kind != nullptr && new_kind != nullptr && old_kind->scalar != new_kind->scalar;
}

void merge(YamlNode& base, YamlNode over, const std::string& path, const UnionKeys& unions) {
  if (!base.is_map() || !over.is_map() || changes_kind(base, over, path, unions)) {
    base = std::move(over);
    return;
  }
  base.place = over.place;
  for (auto& entry : over.entries) {
    if (YamlNode* old_value = base.find(entry.key)) {
      merge(*old_value, std::move(entry.value), below(path, entry.key), unions);
    } else {
      base.entries.push_back(std::move(entry));
    }
  }
}

/// Takes `extends: path` out of the root; nothing if it has none.
std::optional<YamlNode> take_extends(YamlNode& root) {
  const auto entry =
      std::find_if(root.entries.begin(), root.entries.end(), [](const auto& e) { return e.key == "extends"; });
  if (entry == root.entries.end()) return std::nullopt;
  YamlNode value = std::move(entry->value);
  root.entries.erase(entry);
  if (!value.is_scalar() || value.scalar.empty()) {
    fail(value.place, "extends: got " + shown(value) + ", expected the path of one file, relative to this one");
  }
  return value;
}

YamlNode load_layer(const fs::path& path, const UnionKeys& unions, std::vector<fs::path>& chain) {
  YamlNode root = parse_yaml_file(path);
  if (root.is_null()) root.kind = YamlNode::Kind::kMap;
  if (!root.is_map()) fail(root.place, "got " + shown(root) + ", expected sections (key: value)");
  const auto base_path = take_extends(root);
  if (!base_path) return root;
  const fs::path below_this = path.parent_path() / base_path->scalar;
  const fs::path identity = fs::weakly_canonical(below_this);
  if (std::find(chain.begin(), chain.end(), identity) != chain.end()) {
    std::string circle;
    for (const auto& file : chain) circle += file.filename().string() + " -> ";
    fail(base_path->place, "extends goes round in a circle: " + circle + identity.filename().string());
  }
  std::error_code missing;
  if (!fs::exists(below_this, missing)) {
    fail(base_path->place, "extends: no file " + shown(below_this.string()) +
                               "; the path is relative to the folder of the file that extends");
  }
  chain.push_back(identity);
  YamlNode base = load_layer(below_this, unions, chain);
  merge(base, std::move(root), "", unions);
  return base;
}

struct Assignment {
  YamlPlace place;
  std::vector<std::string> keys;
  YamlNode value;
  std::string path() const { return join(keys, "."); }
};

Assignment parse_assignment(const std::string& text) {
  Assignment result;
  const std::string source = "--set " + text;
  result.place.source = std::make_shared<const std::string>(shown(source).substr(1, shown(source).size() - 2));
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    fail(result.place, "expected KEY=VALUE, as in --set optimizer.lr=1e-3");
  }
  std::size_t start = 0;
  while (start <= equals) {
    const auto end = std::min(text.find('.', start), equals);
    result.keys.push_back(text.substr(start, end - start));
    if (result.keys.back().empty()) fail(result.place, "a key between the dots is empty");
    start = end + 1;
  }
  result.value = parse_yaml(text.substr(equals + 1), *result.place.source, false);
  return result;
}

std::optional<std::size_t> as_index(const std::string& key) {
  const bool digits =
      key.size() <= 6 && std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::optional<std::size_t>(std::stoul(key)) : std::nullopt;
}

/// "eval.0.name" -> "eval[].name": how union paths are written. Keys in front of `count` only.
std::string schema_path(const std::vector<std::string>& keys, std::size_t count) {
  std::string path;
  for (std::size_t i = 0; i < count; ++i) path = as_index(keys[i]) ? path + "[]" : below(path, keys[i]);
  return path;
}

bool sets_kind(const Assignment& assignment, const UnionKeys& unions) {
  const auto tag = unions.find(schema_path(assignment.keys, assignment.keys.size() - 1));
  return tag != unions.end() && tag->second == assignment.keys.back();
}

void assign(YamlNode& root, const Assignment& assignment, const UnionKeys& unions) {
  YamlNode* node = &root;
  for (std::size_t i = 0; i < assignment.keys.size(); ++i) {
    const auto& key = assignment.keys[i];
    const std::string here =
        join({assignment.keys.begin(), assignment.keys.begin() + static_cast<std::ptrdiff_t>(i)}, ".");
    if (node->is_list()) {
      const auto index = as_index(key);
      if (!index || *index >= node->items.size()) {
        fail(assignment.place, here + " is a list of " + std::to_string(node->items.size()) + "; " + shown(key) +
                                   " is no index of it (0 is the first; to replace the list: --set " + here +
                                   "=[...])");
      }
      node = &node->items[*index];
      continue;
    }
    if (node->is_null()) {
      *node = yaml_map();
      node->place = assignment.place;
    }
    if (!node->is_map()) fail(assignment.place, here + " is " + shown(*node) + ", not a section with keys");
    if (node->find(key) == nullptr) node->entries.push_back({key, assignment.place, {}});
    if (i + 1 == assignment.keys.size() && sets_kind(assignment, unions) &&
        node->find(key)->scalar != assignment.value.scalar) {
      node->entries = {{key, assignment.place, {}}};
    }
    node = node->find(key);
  }
  *node = assignment.value;
  node->place = assignment.place;
}

}  // namespace

YamlNode load_yaml_layers(const fs::path& path, const UnionKeys& unions) {
  std::vector<fs::path> chain = {fs::weakly_canonical(path)};
  return load_layer(path, unions, chain);
}

void apply_assignments(YamlNode& root, const std::vector<std::string>& assignments, const UnionKeys& unions) {
  std::vector<Assignment> parsed;
  for (const auto& text : assignments) parsed.push_back(parse_assignment(text));
  std::stable_partition(parsed.begin(), parsed.end(), [&](const auto& a) { return sets_kind(a, unions); });
  for (const auto& assignment : parsed) assign(root, assignment, unions);
}

}  // namespace triptych
