// Contradictions, and keys that another key puts out of use: those must stand at their defaults.
#include "core/objective/loupe_config.h"

#include <algorithm>
#include <string_view>
#include <type_traits>
#include <vector>

namespace triptych {
namespace {

/// The first key of a section without sections that is not at its default, those of `used` aside; empty if none.
template <class Section>
std::string first_changed(const Section& section, const std::vector<std::string_view>& used) {
  const Section standard;
  std::vector<const void*> defaults;
  Section::fields(standard, [&](const char*, const auto& value, auto&&...) { defaults.push_back(&value); });
  std::string changed;
  std::size_t place = 0;
  Section::fields(section, [&](std::string_view key, const auto& value, auto&&...) {
    using Value = std::remove_cvref_t<decltype(value)>;
    const bool same = value == *static_cast<const Value*>(defaults[place++]);
    const bool idle = std::find(used.begin(), used.end(), key) == used.end();
    if (changed.empty() && idle && !same) changed = key;
  });
  return changed;
}

template <class Section>
void refuse_changed(const Section& section, const std::string& name, const std::vector<std::string_view>& used,
                    const char* where) {
  const auto key = first_changed(section, used);
  if (!key.empty()) throw FieldError(name + "." + key, std::string("means nothing ") + where + "; remove it");
}

void refuse_if(bool changed, const char* key, const char* where) {
  if (changed) throw FieldError(key, std::string("means nothing ") + where + "; remove it");
}

void refuse_idle_keys(const LoupeConfig& c) {
  const bool tokens = c.tokens.weight > 0, phrases = c.phrases.weight > 0;
  if (!tokens) refuse_changed(c.tokens, "tokens", {"weight"}, "with tokens.weight 0");
  if (!phrases) refuse_changed(c.phrases, "phrases", {"weight"}, "with phrases.weight 0");
  if (!tokens && !phrases) {
    constexpr auto kWhere = "with tokens.weight and phrases.weight 0";
    refuse_changed(c.regions, "regions", {}, kWhere);
    refuse_if(c.mean != LoupeConfig{}.mean, "mean", kWhere);
  }
  if (c.unsil.type == "none") refuse_changed(c.unsil, "unsil", {"type"}, "with type: none");
  const bool pairs = c.unsil.type != "none" && c.unsil.level == "both";
  refuse_if(!pairs && c.phrases.targets != LoupePhrases{}.targets, "phrases.targets", "unless unsil.level is both");
  refuse_if(c.phrases.value == "exact" && c.phrases.samples != LoupePhrases{}.samples, "phrases.samples",
            "with value: exact");
  refuse_if(c.unsil.type != "transformer" && c.unsil.heads != LoupeUnsil{}.heads, "unsil.heads",
            "unless type is transformer");
  refuse_if(c.unsil.labels == "raw" && c.unsil.moments_decay != LoupeUnsil{}.moments_decay, "unsil.moments_decay",
            "with labels: raw");
}

void check_targets(const LoupeConfig& c) {
  if (c.tokens.weight == 0 || c.tokens.targets >= c.regions.count) return;
  if (c.unsil.type != "none" && c.unsil.warmup == 0) return;
  throw FieldError("tokens.targets", std::to_string(c.tokens.targets) + " is less than regions.count " +
                                         std::to_string(c.regions.count) + ": " +
                                         (c.unsil.type == "none" ? "" : "during unsil.warmup ") +
                                         "a picture's regions get labels together");
}

}  // namespace

void LoupeConfig::validate() const {
  refuse_idle_keys(*this);
  if (tokens.sampler == "antithetic" && tokens.coalitions % 2 != 0)
    throw FieldError("tokens.coalitions", "antithetic coalitions come in pairs, got " +
                                              std::to_string(tokens.coalitions) + "; take an even number");
  if (phrases.fewest > phrases.most)
    throw FieldError("phrases.fewest", std::to_string(phrases.fewest) + " is more than phrases.most " +
                                           std::to_string(phrases.most) + ", so that no caption would play; lower it");
  if (tokens.weight == 0 && unsil.type != "none" && !(unsil.level == "both" && phrases.weight > 0))
    throw FieldError("unsil.type", "has nothing to learn where tokens.weight is 0; use unsil: {type: none}");
  if (unsil.level == "both" && unsil.type != "none" && phrases.weight == 0)
    throw FieldError("unsil.level", "both needs phrases.weight above 0; use level: tokens");
  check_targets(*this);
}

}  // namespace triptych
