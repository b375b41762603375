// Which record stands at which position: a pure function of (seed, position). O(1) state, O(1) seek.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "data/corpus.h"
#include "data/data_config.h"

namespace triptych {

struct Draw {
  int corpus = 0;
  std::int64_t record = 0;
  std::int64_t epoch = 0;
};

class SampleSchedule {
 public:
  struct Source {
    std::vector<Corpus::ShardSpan> shards;
    std::int64_t size = 0;
    double weight = 1;
  };
  SampleSchedule(std::vector<Source> sources, const std::string& mixing, const ShuffleConfig& shuffle, std::uint64_t seed);
  ~SampleSchedule();
  Draw at(std::int64_t position) const;  ///< thread safe
  std::int64_t records_per_epoch() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace triptych
