// log.ledger: one line of ledger.jsonl per sample, so that "each record once an epoch" can be counted.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "data/corpus_config.h"
#include "data/schedule.h"

namespace triptych {

/// The lines of the global batch at `first_position`: {"epoch", "position", "corpus", "record", "replacement"}.
/// `record` is the one whose picture was used and `replacement` is true if it stands for a bad one that the schedule
/// named; `epoch` counts how often all records of the corpus stood before. global_sample_ids: int64 [B], see Batch.
std::string ledger_lines(std::int64_t first_position, const at::Tensor& global_sample_ids,
                         const SampleSchedule& schedule, const std::vector<CorpusConfig>& corpora);

}  // namespace triptych
