// The rules of `triptych data filter`: a YAML file of their own, read as strictly as a run's configuration. A rule that
// is not listed is off. The defaults are those of LOUPE (Li et al. 2022, arXiv:2208.02515, data section).
#pragma once
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "core/base/config.h"

namespace triptych {

struct MinimumSideRule {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "minimum_side";
  std::int64_t pixels = 201;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("pixels", c.pixels, "the shorter side of a picture must have at least so many", at_least(1));
  }
};

struct AspectRatioRule {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "aspect_ratio";
  double most = 10;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("most", c.most, "longer side / shorter side may be at most this", at_least(1));
  }
};

struct WordsRule {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "words";
  std::int64_t fewest = 3, most = 100;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("fewest", c.fewest, "words that a caption has at least", at_least(0));
    field("most", c.most, "words that a caption has at most", at_least(1));
  }
  void validate() const {
    if (fewest > most) throw FieldError("fewest", "is larger than most: no caption could stay");
  }
};

struct EnglishRule {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "english";
  double least = 0;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("least", c.least,
          "mean log odds of a caption's letter trigrams, English against other languages, in nats: lower ones are "
          "removed");
  }
};

struct DuplicateCaptionsRule {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "duplicate_captions";
  template <class Self, class Visit>
  static void fields(Self&, Visit&&) {}
};

struct RareNgramsRule {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "rare_ngrams";
  std::int64_t most_frequent = 100'000'000;
  std::int64_t fewest = 1;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("most_frequent", c.most_frequent,
          "words and pairs of words, counted over the whole corpus, that are not rare: the most frequent so many",
          at_least(1));
    field("fewest", c.fewest, "a word or pair that occurs fewer times is rare as well", between(1, 4294967295.0));
  }
};

struct NearDuplicatesRule {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "near_duplicates";
  std::int64_t distance = 4;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("distance", c.distance, "bits of 64 by which the hashes of two pictures differ at most to be duplicates",
          between(0, 15));
  }
};

struct EvaluationPicturesRule {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "evaluation_pictures";
  std::int64_t distance = 4;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("distance", c.distance,
          "bits of 64 by which the hash of a picture may differ from one of the configuration's eval corpora and count "
          "as that picture",
          between(0, 15));
  }
};

using FilterRule = std::variant<MinimumSideRule, AspectRatioRule, WordsRule, EnglishRule, DuplicateCaptionsRule,
                                RareNgramsRule, NearDuplicatesRule, EvaluationPicturesRule>;

struct FilterConfig {
  std::vector<FilterRule> rules;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("rules", c.rules, "what a record must satisfy to be kept, in the order in which removals are counted");
  }
  /// Each rule at most once, and at least one.
  void validate() const;
};

/// "words", as `name` says it in YAML.
std::string rule_name(const FilterRule& rule);

}  // namespace triptych
