// Threads judge what a record alone decides and hash the rest; then one thread walks the records in order.
#include "data/tools/filter.h"

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_set>
#include <utility>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/parallel_for.h"
#include "data/formats/printable.h"
#include "data/image/decode.h"
#include "data/tools/english.h"
#include "data/tools/ngram_counts.h"
#include "data/tools/perceptual_hash.h"
#include "data/tools/words.h"

namespace triptych {
namespace {

constexpr std::int64_t kFilterWave = 4096;  // records judged between two walks
constexpr std::size_t kExamples = 5;

template <class... Rules>
bool is_one_of(const FilterRule& rule) {
  return (std::holds_alternative<Rules>(rule) || ...);
}
bool needs_captions(const FilterRule& rule) {
  return is_one_of<WordsRule, EnglishRule, DuplicateCaptionsRule, RareNgramsRule>(rule);
}
bool needs_hash(const FilterRule& rule) {
  return is_one_of<NearDuplicatesRule, EvaluationPicturesRule>(rule);
}
bool needs_picture(const FilterRule& rule) {
  return needs_hash(rule) || is_one_of<MinimumSideRule, AspectRatioRule>(rule);
}

/// What the walk needs to know of a record.
struct Judged {
  bool usable = false;
  std::uint32_t failed = 0;  // bit i: rule i is not satisfied, as far as the record alone decides
  std::optional<std::uint64_t> picture;
  std::vector<std::uint64_t> captions;
};

bool satisfies(const Image& image, const MinimumSideRule& rule) {
  return std::min(image.width, image.height) >= rule.pixels;
}
bool satisfies(const Image& image, const AspectRatioRule& rule) {
  return std::max(image.width, image.height) <= rule.most * std::min(image.width, image.height);
}

class Filter {
 public:
  Filter(const Corpus& corpus, const FilterConfig& config, const FilterRequest& request)
      : corpus_(corpus), rules_(config.rules), request_(request) {
    for (const auto& rule : rules_) {
      report_.removed.push_back({rule_name(rule), 0, {}});
      decodes_ |= needs_picture(rule);
      hashes_ |= needs_hash(rule);
      if (needs_captions(rule) && corpus.config().kind != "image_text") {
        throw ConfigError("filter: the rule " + rule_name(rule) + " looks at captions, but corpus " +
                          printable(corpus.config().name) + " is " + corpus.config().kind +
                          "; leave the rule out of the rules file");
      }
      if (const auto* near = std::get_if<NearDuplicatesRule>(&rule)) near_.emplace(static_cast<int>(near->distance));
      if (const auto* rare = std::get_if<RareNgramsRule>(&rule)) count_ngrams(*rare);
      if (const auto* held = std::get_if<EvaluationPicturesRule>(&rule)) hash_evaluation(*held);
    }
  }

  FilterResult run() {
    KeepBitsBuilder bits(corpus_.size());
    std::vector<Judged> wave;
    for (std::int64_t begin = 0; begin < corpus_.size(); begin += kFilterWave) {
      const auto count = std::min(kFilterWave, corpus_.size() - begin);
      wave.assign(static_cast<std::size_t>(count), {});
      parallel_for(count, request_.threads,
                   [&](std::int64_t i) { wave[static_cast<std::size_t>(i)] = judge(begin + i); });
      for (std::int64_t i = 0; i < count; ++i) {
        if (keeps(begin + i, wave[static_cast<std::size_t>(i)])) bits.keep(begin + i);
      }
      progress("judging", begin + count, corpus_.size());
    }
    report_.records = corpus_.size();
    auto keep = std::move(bits).finish();
    report_.kept = keep.kept();
    return {std::move(report_), std::move(keep)};
  }

 private:
  void progress(const std::string& what, std::int64_t done, std::int64_t of) const {
    if (request_.progress) request_.progress(what, done, of);
  }

  /// Calls body(i) for every record that can be read, on all threads.
  template <class Body>
  void for_each_record(const Corpus& corpus, const std::string& what, Body&& body) const {
    for (std::int64_t begin = 0; begin < corpus.size(); begin += kFilterWave) {
      const auto count = std::min(kFilterWave, corpus.size() - begin);
      parallel_for(count, request_.threads, [&](std::int64_t i) {
        try {
          body(i, corpus.read(begin + i));
        } catch (const DataError&) {  // counted where the record is judged
        }
      });
      progress(what, begin + count, corpus.size());
    }
  }

  void count_ngrams(const RareNgramsRule& rule) {
    for_each_record(corpus_, "counting n-grams", [&](std::int64_t, const Record& record) {
      for (const auto& caption : record.captions) ngrams_.add(words_of(caption));
    });
    report_.ngrams = ngrams_.different();
    const auto fewest = static_cast<std::uint32_t>(rule.fewest);
    least_count_ = std::max(ngrams_.least_count(rule.most_frequent), fewest);
  }

  void hash_evaluation(const EvaluationPicturesRule& rule) {
    if (request_.evaluation.empty()) {
      throw ConfigError(
          "filter: the rule evaluation_pictures compares with the eval corpora of the configuration, and "
          "there is none; add eval entries or leave the rule out");
    }
    held_.emplace(static_cast<int>(rule.distance));
    for (const auto* corpus : request_.evaluation) {
      std::vector<std::optional<std::uint64_t>> hashes(static_cast<std::size_t>(corpus->size()));
      std::vector<char> decoded(hashes.size());
      parallel_for(corpus->size(), request_.threads, [&](std::int64_t i) {
        try {
          hashes[static_cast<std::size_t>(i)] = perceptual_hash(decode_image(corpus->read(i).image, request_.decoding));
          decoded[static_cast<std::size_t>(i)] = 1;
        } catch (const DataError&) {  // counted below
        }
      });
      for (const auto& hash : hashes) {
        if (hash) held_->add(*hash);
      }
      report_.evaluation_unusable += std::count(decoded.begin(), decoded.end(), 0);
    }
    report_.evaluation_pictures = held_->size();
  }

  Judged judge(std::int64_t index) const {
    Judged judged;
    try {
      const auto record = corpus_.read(index);
      std::optional<Image> image;
      if (decodes_) image = decode_image(record.image, request_.decoding);
      if (hashes_) judged.picture = perceptual_hash(*image);
      for (std::size_t i = 0; i < rules_.size(); ++i) {
        if (image && !picture_passes(*image, judged.picture, rules_[i])) judged.failed |= 1U << i;
      }
      for (const auto& caption : record.captions) judge_caption(caption, judged);
      judged.usable = true;
    } catch (const DataError&) {  // counted by the walk
    }
    return judged;
  }

  bool picture_passes(const Image& image, const std::optional<std::uint64_t>& hash, const FilterRule& rule) const {
    if (const auto* side = std::get_if<MinimumSideRule>(&rule)) return satisfies(image, *side);
    if (const auto* ratio = std::get_if<AspectRatioRule>(&rule)) return satisfies(image, *ratio);
    if (std::holds_alternative<EvaluationPicturesRule>(rule)) return !hash || !held_->nearest(*hash);
    return true;
  }

  void judge_caption(const std::string& caption, Judged& judged) const {
    const auto words = words_of(caption);
    const auto count = static_cast<std::int64_t>(words.size());
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      bool passes = true;
      if (const auto* rule = std::get_if<WordsRule>(&rules_[i])) passes = count >= rule->fewest && count <= rule->most;
      if (const auto* rule = std::get_if<EnglishRule>(&rules_[i])) passes = english_score(words) >= rule->least;
      if (std::holds_alternative<RareNgramsRule>(rules_[i])) passes = !ngrams_.has_rare(words, least_count_);
      if (!passes) judged.failed |= 1U << i;
      if (std::holds_alternative<DuplicateCaptionsRule>(rules_[i])) {
        judged.captions.push_back(xxh64(compared_text(caption)));
      }
    }
  }

  /// The walk: the first rule that a record does not satisfy removes it; one that stays is remembered.
  bool keeps(std::int64_t index, const Judged& judged) {
    if (!judged.usable) {
      ++report_.unusable;
      return false;
    }
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      bool passes = (judged.failed >> i & 1) == 0;
      if (std::holds_alternative<DuplicateCaptionsRule>(rules_[i])) {
        passes = std::none_of(judged.captions.begin(), judged.captions.end(),
                              [&](std::uint64_t hash) { return captions_.contains(hash); });
      }
      if (std::holds_alternative<NearDuplicatesRule>(rules_[i])) {
        passes = !judged.picture || !near_->nearest(*judged.picture);
      }
      if (passes) continue;
      auto& removed = report_.removed[i];
      ++removed.records;
      if (removed.examples.size() < kExamples) removed.examples.push_back(index);
      return false;
    }
    captions_.insert(judged.captions.begin(), judged.captions.end());
    if (near_ && judged.picture) near_->add(*judged.picture);
    return true;
  }

  const Corpus& corpus_;
  const std::vector<FilterRule>& rules_;
  const FilterRequest& request_;
  FilterReport report_;
  bool decodes_ = false, hashes_ = false;
  NgramCounts ngrams_;
  std::uint32_t least_count_ = 0;
  std::optional<HammingIndex> near_, held_;  // of records that stay; of the evaluation sets
  std::unordered_set<std::uint64_t> captions_;
};

}  // namespace

void FilterConfig::validate() const {
  if (rules.empty()) throw FieldError("rules", "is empty; name at least one rule");
  std::set<std::string> names;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (!names.insert(rule_name(rules[i])).second) {
      throw FieldError("rules." + std::to_string(i), "'" + rule_name(rules[i]) + "' stands twice");
    }
  }
}

std::string rule_name(const FilterRule& rule) {
  return std::visit([](const auto& chosen) { return std::string(chosen.kTag); }, rule);
}

FilterResult filter_corpus(const Corpus& corpus, const FilterConfig& config, const FilterRequest& request) {
  return Filter(corpus, config, request).run();
}

}  // namespace triptych
