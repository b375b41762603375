// Which record stands at which position: a pure function of (seed, position). O(1) state, O(1) seek.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/data_config.h"

namespace triptych {

/// What stands at one position.
struct Draw {
  int corpus = 0;
  std::int64_t record = 0;
  std::int64_t epoch = 0;  ///< of the corpus: how often all its records (of this lane, if it walks its own epochs)
                           ///< stood before
};

/// What the order knows of batches.
struct BatchForm {
  std::int64_t lane_rows = 1;  ///< rows of a lane in a global batch, which has lane_rows * shuffle.lanes
  bool single_source = false;  ///< every global batch is of one corpus
};

/// The order of a run. Positions count the samples of all ranks.
///
/// proportional: an epoch is the E records of all corpora, each once; at every place the corpora are interleaved as
/// evenly
///   as their sizes allow. Epochs join without a gap.
/// weighted: each block of 1,000 positions of a lane holds a whole number of records of each corpus, fixed by the
/// weights
///   (largest remainder), evenly interleaved. Each corpus walks its own epochs: all its records once, then again.
/// single source: the same two rules deal whole global batches instead of rows: of every 1,000 batches (weighted), or
/// of
///   every E (proportional), a corpus has exactly its quota, evenly interleaved, so that it is never more than a batch
///   ahead of its share or behind it. Each corpus walks its own epochs, which may begin inside a batch.
///
/// Within an epoch of a corpus its shards come in a drawn order, and records are mixed in windows of about
/// `shuffle.window` records of that order, so that reading stays sequential; `shuffle.full` is one permutation of all
/// records. Lanes cut that order into contiguous parts: position p belongs to lane (p / lane_rows) mod lanes, and every
/// lane meets its own part only. Rank r of a size that divides the lanes reads
/// the lanes [r lanes/size, (r+1) lanes/size) alone.
class SampleSchedule {
 public:
  struct Source {
    std::vector<Corpus::ShardSpan> shards;
    std::int64_t size = 0;
    double weight = 1;
  };
  /// Throws ConfigError: an empty source, more lanes than records of one, a weight below one record in 1,000.
  SampleSchedule(std::vector<Source> sources, const std::string& mixing, const ShuffleConfig& shuffle,
                 std::uint64_t seed, BatchForm form = {});
  ~SampleSchedule();
  /// Thread safe; O(log shards), plus O(shards) when a corpus enters an epoch. position >= 0.
  Draw at(std::int64_t position) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// E: the samples of an epoch, which durations and logs count by. `sizes` are the corpora's numbers of records, in the
/// order of config.corpora. Without data.epoch the sum of them; with epoch.corpus the positions after which that corpus
/// was walked once at its weight (rounded up).
std::int64_t samples_per_epoch(const DataConfig& config, const std::vector<std::int64_t>& sizes);

}  // namespace triptych
