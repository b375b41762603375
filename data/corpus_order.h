// In which order the records of one corpus come in one of its epochs.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "data/corpus.h"
#include "data/data_config.h"

namespace triptych {

/// The part [begin, end) of an epoch's order that one lane reads.
struct LanePart {
  std::int64_t lane = 0, begin = 0, end = 0;
};

class CorpusOrder {
 public:
  /// `key` belongs to this corpus and run alone.
  CorpusOrder(std::vector<Corpus::ShardSpan> shards, std::int64_t size, const ShuffleConfig& shuffle,
              std::uint64_t key);
  ~CorpusOrder();
  /// The record at `place` of an epoch, part.begin <= place < part.end. For a fixed epoch and parts that cut
  /// [0, size) into pieces, one to one onto the records. Thread safe.
  std::int64_t record(std::int64_t epoch, const LanePart& part, std::int64_t place) const;

 private:
  struct ShardOrder;
  std::shared_ptr<const ShardOrder> shard_order(std::int64_t epoch) const;
  std::int64_t in_window(std::int64_t epoch, const LanePart& part, std::int64_t place) const;

  std::vector<Corpus::ShardSpan> shards_;
  std::int64_t size_;
  ShuffleConfig shuffle_;
  std::uint64_t key_;
  mutable std::mutex mutex_;
  mutable std::map<std::int64_t, std::shared_ptr<const ShardOrder>> recent_;  // by epoch; at most kRecentEpochs
};

}  // namespace triptych
