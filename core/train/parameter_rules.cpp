// Towers are told by "visual." before the image tower's names, blocks by what their architecture calls them.
#include "core/train/parameter_rules.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>

#include "core/base/errors.h"

namespace triptych {
namespace {

enum class Tower { kImage, kText, kNone };

Tower tower_of(const std::string& name) {
  if (name.starts_with("visual.")) return Tower::kImage;
  return name.starts_with("logit_") || name.starts_with("head.") ? Tower::kNone : Tower::kText;
}

/// What names the block that a parameter belongs to: "visual.transformer.resblocks.3", "visual.layers.0.blocks.1"
/// (Swin), "visual.layer2.0" (ResNet), "encoder.layer.5" (BERT). Empty: none.
std::string block_of(const std::string& name) {
  static const std::regex kBlock(
      R"(^(.*\b(resblocks\.\d+|layers\.\d+\.blocks\.\d+|layer\d+\.\d+|encoder\.layer\.\d+))\.)");
  std::smatch found;
  return std::regex_search(name, found, kBlock) ? found[1].str() : "";
}

bool is_embedding(const std::string& name) {
  if (name.find("attnpool") != std::string::npos) return false;
  for (const char* part : {"class_embedding", "positional_embedding", "token_embedding.", "conv1.", "bn1.", "ln_pre.",
                           "patch_embed.", "embeddings.", "label_embedding."}) {
    if (name.find(part) != std::string::npos) return true;
  }
  return false;
}

/// 0 for embeddings, 1 to n for the n blocks of a tower, n + 1 for what follows them. Swin's merging of patches belongs
/// to the stage that it ends.
int layer_of(const std::string& name, const std::vector<std::string>& blocks) {
  const auto block = block_of(name);
  if (!block.empty()) return static_cast<int>(std::find(blocks.begin(), blocks.end(), block) - blocks.begin()) + 1;
  if (const auto merging = name.find("downsample."); merging != std::string::npos) {
    int last = 0;
    for (std::size_t i = 0; i < blocks.size(); ++i)
      if (blocks[i].starts_with(name.substr(0, merging))) last = static_cast<int>(i) + 1;
    return last;
  }
  return is_embedding(name) ? 0 : static_cast<int>(blocks.size()) + 1;
}

/// How many layers stand above each parameter in its tower.
std::vector<int> layers_above(const std::vector<std::string>& names) {
  std::map<Tower, std::vector<std::string>> blocks;  // from below
  for (const auto& name : names) {
    const auto block = block_of(name);
    auto& known = blocks[tower_of(name)];
    if (!block.empty() && std::find(known.begin(), known.end(), block) == known.end()) known.push_back(block);
  }
  std::vector<int> above;
  for (const auto& name : names) {
    const auto& known = blocks[tower_of(name)];
    const int top = static_cast<int>(known.size()) + 1;
    above.push_back(tower_of(name) == Tower::kNone ? 0 : top - layer_of(name, known));
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
  for (std::size_t i = 0; i < config.decay_also.size(); ++i)
    require_match("decay_also." + std::to_string(i), config.decay_also[i], names);
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

std::vector<ParameterRule> freeze_parameters(const OptimizerConfig& config,
                                             const std::vector<NamedTensor>& parameters) {
  std::vector<std::string> names;
  for (const auto& parameter : parameters) names.push_back(parameter.name);
  auto rules = parameter_rules(config, names);
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (rules[i].frozen) parameters[i].tensor.set_requires_grad(false);
  }
  return rules;
}

}  // namespace triptych
