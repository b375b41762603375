// Names are OpenCLIP's: "visual." before the image tower's, ".resblocks.N." in those of a block.
#include "core/train/parameter_rules.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "core/base/errors.h"

namespace triptych {
namespace {

constexpr std::string_view kBlocks = "resblocks.";

enum class Tower { kImage, kText, kNone };

Tower tower_of(const std::string& name) {
  if (name.starts_with("visual.")) return Tower::kImage;
  return name.starts_with("logit_") || name.starts_with("head.") ? Tower::kNone : Tower::kText;
}

/// N of "visual.transformer.resblocks.N.mlp.c_fc.weight".
std::optional<int> block_of(const std::string& name) {
  const auto at = name.find(kBlocks);
  if (at == std::string::npos) return std::nullopt;
  int block = 0;
  const auto* begin = name.data() + at + kBlocks.size();
  const auto parsed = std::from_chars(begin, name.data() + name.size(), block);
  return parsed.ec == std::errc() ? std::optional(block) : std::nullopt;
}

bool is_embedding(const std::string& name) {
  for (const char* part : {"class_embedding", "positional_embedding", "token_embedding.", "conv1.", "ln_pre."}) {
    if (name.find(part) != std::string::npos) return true;
  }
  return false;
}

/// How many layers stand above each parameter in its tower.
std::vector<int> layers_above(const std::vector<std::string>& names) {
  std::map<Tower, int> blocks;
  for (const auto& name : names) {
    auto& most = blocks[tower_of(name)];
    most = std::max(most, block_of(name).value_or(-1) + 1);
  }
  std::vector<int> above;
  for (const auto& name : names) {
    const auto tower = tower_of(name);
    const int top = blocks[tower] + 1, layer = block_of(name).value_or(is_embedding(name) ? -1 : top - 1) + 1;
    above.push_back(tower == Tower::kNone ? 0 : top - layer);
  }
  return above;
}

void require_match(const std::string& key, const std::string& pattern, const std::vector<std::string>& names) {
  const auto matches = [&](const std::string& name) { return matches_name(name, pattern); };
  if (std::any_of(names.begin(), names.end(), matches)) return;
  throw ConfigError("optimizer." + key + ": no parameter is called '" + pattern +
                    "'; '*' stands for any characters, as in '" + names.front() +
                    "' or 'visual.*' (`triptych inspect CHECKPOINT` lists the names)");
}

}  // namespace

bool matches_name(const std::string& name, const std::string& pattern) {
  // The last star takes as much as it must: try again one character further whenever the rest does not fit.
  std::size_t n = 0, p = 0, star = std::string::npos, taken = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string::npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string::npos;
}

std::vector<ParameterRule> parameter_rules(const OptimizerConfig& config, const std::vector<std::string>& names) {
  for (std::size_t i = 0; i < config.freeze.size(); ++i)
    require_match("freeze." + std::to_string(i), config.freeze[i], names);
  for (std::size_t i = 0; i < config.lr_factors.size(); ++i)
    require_match("lr_factors." + std::to_string(i) + ".match", config.lr_factors[i].match, names);
  const auto above = layers_above(names);
  std::vector<ParameterRule> rules;
  for (std::size_t i = 0; i < names.size(); ++i) {
    ParameterRule rule;
    for (const auto& pattern : config.freeze) rule.frozen |= matches_name(names[i], pattern);
    for (const auto& entry : config.lr_factors)
      if (matches_name(names[i], entry.match)) rule.lr_factor *= entry.factor;
    rule.lr_factor *= std::pow(config.layer_decay, above[i]);
    rules.push_back(rule);
  }
  if (std::all_of(rules.begin(), rules.end(), [](const auto& rule) { return rule.frozen; }))
    throw ConfigError("optimizer.freeze: nothing is left to train");
  return rules;
}

}  // namespace triptych
