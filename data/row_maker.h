// One row of a batch from its position: read, decode, augment, caption, tokenise; a bad record is replaced.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/types/batch.h"
#include "data/loader.h"

namespace triptych {

/// Where a row is written.
struct RowTarget {
  std::span<std::uint8_t> images;  ///< [views, size, size, 3]
  std::span<std::int64_t> tokens;  ///< [captions, context]; empty when the spec wants no text
  std::int64_t& label;
  std::int64_t& sample_id;
};

struct Image;

class RowMaker {
 public:
  /// How many records of a corpus are tried for one row.
  static constexpr std::int64_t kMostAttempts = 100;

  /// `corpora` must outlive the maker. Throws ConfigError: a spec that the corpora cannot serve, unknown tokenizer or
  /// prompts.
  RowMaker(const CorpusSet& corpora, const DataConfig& config, const BatchSpec& spec, std::uint64_t seed);
  /// A pure function of (seed, position, draw): every draw is keyed by them. Records that could not be used are
  /// appended to `bad` in the order they were met. Thread safe. Throws NoUsableRecord after kMostAttempts.
  void make(std::int64_t position, const Draw& draw, const RowTarget& target, std::vector<BadRecord>& bad) const;
  /// Sums over all rows and threads so far.
  StageTimes times() const;

 private:
  void fill(std::int64_t position, int corpus, std::int64_t record, const RowTarget& target) const;
  void write_views(const Image& image, std::int64_t position, std::span<std::uint8_t> out) const;
  void write_tokens(const Record& record, std::int64_t label, std::int64_t position, std::span<std::int64_t> out) const;
  std::string prompt(std::int64_t label, std::int64_t position, int caption) const;

  const CorpusSet& corpora_;
  AugmentConfig augment_;
  DecodeConfig decode_;
  BatchSpec spec_;
  std::uint64_t seed_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<std::string> prompts_;
  mutable std::atomic<std::int64_t> read_ns_{0}, decode_ns_{0}, resize_ns_{0}, text_ns_{0}, bytes_{0}, rows_{0};
};

}  // namespace triptych
