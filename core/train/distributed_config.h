// The `distributed` section: what a step's bits may depend on.
#pragma once
#include <cstdint>

#include "core/base/config.h"

namespace triptych {

struct DistributedConfig {
  std::int64_t virtual_shards = 0;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field(
        "virtual_shards", c.virtual_shards,
        "compute every step over so many shards of the global batch, which divide it, in a fixed order: the same bits "
        "on any number of ranks that divides it, also when that changes in the middle of a run; costs a forward, the "
        "loss on every rank and a wider exchange (docs/distributed.md); 0: off",
        at_least(0));
  }
};

}  // namespace triptych
