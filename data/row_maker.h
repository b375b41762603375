// One row of a batch from its position: read, decode, augment, caption, tokenise; a bad record is replaced.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/types/batch.h"
#include "data/image/mix.h"
#include "data/loader.h"
#include "data/row_phrases.h"

namespace triptych {

/// A phrase of one of a row's texts: positions of its row of tokens.
struct PhrasePlace {
  std::int64_t text = 0;
  TokenSpan pieces;
};

/// Where a row is written.
struct RowTarget {
  std::span<std::uint8_t> images;     ///< [views, size, size, 3]
  std::span<std::int64_t> tokens;     ///< [captions, context]; empty when the spec wants no text
  std::vector<PhrasePlace>& phrases;  ///< filled when the spec asks for them
  std::int64_t& label;
  std::int64_t& sample_id;
};

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
  /// Whether mix() does anything.
  bool mixes() const { return mix_.enabled(); }
  /// Mixes the finished rows [first, first + rows) of a micro-batch whose first row is at `position`, in place:
  /// pictures [rows][views][size][size][3]. A pure function of (seed, position, rows). Thread safe.
  MixPlan mix(std::int64_t position, std::int64_t rows, std::span<std::uint8_t> images) const;
  /// Sums over all rows and threads so far.
  StageTimes times() const;

 private:
  void fill(std::int64_t position, int corpus, std::int64_t record, const RowTarget& target) const;
  void write_views(const Record& record, std::int64_t position, std::span<std::uint8_t> out) const;
  void write_tokens(const Record& record, std::int64_t label, std::int64_t position, std::span<std::int64_t> out) const;
  /// The record's caption that text number `text` of the row is.
  std::size_t drawn_caption(const Record& record, std::int64_t position, int text) const;
  std::string prompt(std::int64_t label, std::int64_t position, int caption) const;

  const CorpusSet& corpora_;
  AugmentConfig augment_;
  MixConfig mix_;
  DecodeConfig decode_;
  BatchSpec spec_;
  std::uint64_t seed_;
  RowPhrases phrases_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<std::string> prompts_;
  mutable std::atomic<std::int64_t> read_ns_{0}, decode_ns_{0}, resize_ns_{0}, color_ns_{0}, text_ns_{0}, bytes_{0},
      rows_{0}, reduced_{0};
};

}  // namespace triptych
