// Which records of a corpus satisfy the rules of a FilterConfig: what `triptych data filter` does.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/data_config.h"
#include "data/formats/keep_list.h"
#include "data/tools/filter_config.h"

namespace triptych {

struct FilterRequest {
  std::vector<const Corpus*> evaluation = {};  ///< for evaluation_pictures; not owned
  DecodeConfig decoding = {};
  int threads = 1;
  /// What is being done and how far it is; may be empty.
  std::function<void(const std::string& what, std::int64_t done, std::int64_t of)> progress = {};
};

struct FilterReport {
  std::int64_t records = 0, kept = 0;
  std::int64_t unusable = 0;  ///< could not be read (or decoded, when a rule looks at pictures): removed first
  struct Removed {
    std::string rule;
    std::int64_t records = 0;            ///< that this rule removed; those removed by an earlier rule are not counted
    std::vector<std::int64_t> examples;  ///< the first five
  };
  std::vector<Removed> removed;                      ///< by rule, in the order of the configuration
  std::int64_t evaluation_pictures = 0, ngrams = 0;  ///< hashes compared with; different n-grams counted
  std::int64_t evaluation_unusable = 0;              ///< pictures of the evaluation sets that could not be decoded
};

struct FilterResult {
  FilterReport report;
  KeepBits keep;
};

/// Reads the corpus once, and once more before when rare_ngrams is among the rules. A record stays when its picture and
/// every one of its captions satisfy every rule. duplicate_captions and near_duplicates compare with records that stay
/// and stand before it. The result does not depend on threads. Throws ConfigError: a rule on captions for an
/// image_label corpus; evaluation_pictures without an evaluation corpus.
FilterResult filter_corpus(const Corpus& corpus, const FilterConfig& config, const FilterRequest& request);

}  // namespace triptych
