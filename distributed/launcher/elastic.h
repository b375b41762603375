// How many ranks a job may have: --elastic MIN:MAX.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace triptych {

struct ElasticRange {
  int min = 1, max = 1;
};

/// Reads "MIN:MAX", 1 <= MIN <= MAX. Throws ConfigError.
ElasticRange parse_elastic(const std::string& text);

/// What the number of ranks must divide.
struct RankDivisors {
  std::int64_t global_batch = 1;               ///< rows of a step
  std::optional<std::int64_t> virtual_shards;  ///< pieces that a step is summed in, where a run has them
  std::int64_t micro_batch = 0;                ///< must divide a rank's rows where it is less; 0, or with shards: any
};

/// All numbers of ranks in the range that divide, ascending.
std::vector<int> allowed_ranks(const ElasticRange& range, const RankDivisors& divisors);

/// The largest of them that has a slot for each rank; `free_slots` counts all hosts that may be used. Throws
/// ConfigError that lists the allowed numbers.
int choose_ranks(const ElasticRange& range, const RankDivisors& divisors, int free_slots);

}  // namespace triptych
