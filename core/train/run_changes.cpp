// Compares two resolved configurations key by key.
#include "core/train/run_changes.h"

#include <charconv>

#include "core/base/errors.h"
#include "core/base/yaml_tree.h"

namespace triptych {
namespace {

/// `key` is `section` or lies in it.
bool within(const std::string& key, const std::string& section) {
  return key == section || (key.size() > section.size() && key.starts_with(section) && key[section.size()] == '.');
}

/// Null when there is none.
const YamlNode* node_at(const YamlNode& root, const std::string& path) {
  const YamlNode* node = &root;
  for (std::size_t begin = 0; node != nullptr && begin <= path.size();) {
    const auto end = std::min(path.find('.', begin), path.size());
    const auto key = path.substr(begin, end - begin);
    if (node->is_list()) {
      std::size_t index = node->items.size();
      std::from_chars(key.data(), key.data() + key.size(), index);
      node = index < node->items.size() ? &node->items[index] : nullptr;
    } else {
      node = node->find(key);
    }
    begin = end + 1;
  }
  return node;
}

std::string value_at(const YamlNode& root, const std::string& path) {
  const auto* node = node_at(root, path);
  return node == nullptr ? "nothing" : shown(*node);
}

}  // namespace

bool free_to_change(const std::string& key) {
  for (const char* section : {"log", "checkpoint", "eval", "data.workers", "data.prefetch", "train.device",
                              "train.threads", "train.timeout_s", "train.verify_every", "run.name", "run.dir"}) {
    if (within(key, section)) return true;
  }
  return false;
}

void check_changes(const std::string& saved_yaml, const std::string& yaml,
                   const std::vector<std::string>& allow_change) {
  const auto saved = parse_yaml(saved_yaml, "the checkpoint's config.yaml");
  const auto now = parse_yaml(yaml, "the configuration");
  for (const auto& named : allow_change) {
    if (node_at(saved, named) != nullptr || node_at(now, named) != nullptr) continue;
    throw ConfigError("--allow-change " + named +
                      ": there is no such key or section; docs/config_reference.md lists them");
  }
  std::string refused;
  for (const auto& key : differences(saved, now)) {
    bool allowed = free_to_change(key);
    for (const auto& named : allow_change) allowed = allowed || within(key, named);
    if (allowed) continue;
    refused += "\n  " + key + ": " + value_at(saved, key) + " -> " + value_at(now, key);
  }
  if (refused.empty()) return;
  throw ConfigError("the configuration differs from the one this run was started with:" + refused +
                    "\nPut the old values back, start a new run (run.name), or pass --allow-change KEY for each");
}

}  // namespace triptych
