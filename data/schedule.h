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
  std::int64_t epoch = 0;  ///< of the corpus: how often all its records (of this lane, if weighted) stood before
};

/// The order of a run. Positions count the samples of all ranks.
///
/// proportional: an epoch is the E records of all corpora, each once; at every place the corpora are interleaved as
/// evenly
///   as their sizes allow. Epochs join without a gap.
/// weighted: each block of 1,000 positions of a lane holds a whole number of records of each corpus, fixed by the
/// weights
///   (largest remainder), evenly interleaved. Each corpus walks its own epochs: all its records once, then again. E
///   stays the number of all records.
///
/// Within an epoch of a corpus its shards come in a drawn order, and records are mixed in windows of about
/// `shuffle.window` records of that order, so that reading stays sequential; `shuffle.full` is one permutation of all
/// records. Lanes cut that order into contiguous parts: position p belongs to lane (p / lane_rows) mod lanes, and every
/// lane meets its own part only. With lane_rows = global_batch / lanes, rank r of a size that divides the lanes reads
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
                 std::uint64_t seed, std::int64_t lane_rows = 1);
  ~SampleSchedule();
  /// Thread safe; O(log shards), plus O(shards) when a corpus enters an epoch. position >= 0.
  Draw at(std::int64_t position) const;
  std::int64_t records_per_epoch() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace triptych
