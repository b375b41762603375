// One number for a record of a run: Batch::sample_ids, BadRecord::sample_id.
#pragma once
#include <cstdint>

namespace triptych {

/// `corpus` is an index into data.corpora, below 2^23; 0 <= record < 2^40.
constexpr std::int64_t sample_id_of(std::int64_t corpus, std::int64_t record) {
  return (corpus << 40) | record;
}
constexpr std::int64_t corpus_of(std::int64_t sample_id) {
  return sample_id >> 40;
}
constexpr std::int64_t record_of(std::int64_t sample_id) {
  return sample_id & ((std::int64_t{1} << 40) - 1);
}

}  // namespace triptych
