// How fast batches come: the measurement behind `triptych bench loader`.
#pragma once
#include <cstdint>
#include <functional>

#include "core/types/batch.h"
#include "data/data_config.h"
#include "data/loader.h"

namespace triptych {

struct LoaderBenchRequest {
  BatchSpec spec;
  std::int64_t batch = 64;
  std::int64_t samples = 4096;  ///< rounded up to whole batches
  double most_seconds = 10;     ///< ends earlier when this has passed
  std::uint64_t seed = 1;
  std::function<void(const Batch&)> use;  ///< what the taker does with each batch: normalises it, for instance
};

/// Figures after the first batch, so that starting threads and cold caches do not count.
struct LoaderBenchReport {
  std::int64_t samples = 0;
  double seconds = 0;
  double samples_per_s = 0;
  double mb_per_s = 0;       ///< encoded pictures, 10^6 bytes
  double first_batch_s = 0;  ///< from making the loader to its first batch
  double wait_s = 0;         ///< next() blocked
  double use_s = 0;          ///< in `use`
  std::int64_t bad_records = 0;
  std::int64_t workers = 0;
  double reduced_share = 0;  ///< of the pictures: decoded at less than their size
  StageTimes stages;         ///< seconds summed over the workers: on busy machines more than they computed
};

/// Mean |difference|, in levels of 255, between the views of the first batch with data.decode.scaled and without, over
/// the views that differ; 0 where none does.
double reduction_difference(const CorpusSet& corpora, const DataConfig& config, const LoaderBenchRequest& request);

/// Takes batches as fast as they come. Throws what Loader throws.
LoaderBenchReport bench_loader(const CorpusSet& corpora, const DataConfig& config, const LoaderBenchRequest& request);

}  // namespace triptych
