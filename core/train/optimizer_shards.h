// Sharded optimizer state (Rajbhandari et al., arXiv:1910.02054, stage 1): each rank keeps the moments of some of the
// parameters, updates those, and gets the others from their owners.
#pragma once
#include <cstdint>
#include <vector>

#include "core/module/module.h"
#include "distributed/collectives.h"

namespace triptych {

class OptimizerShards {
 public:
  /// Parameters in their order, the same on every rank. Whole tensors are dealt out, the largest first, to the rank
  /// that has least; not sharded (or one rank): all are this rank's.
  OptimizerShards(const std::vector<NamedTensor>& parameters, bool sharded, Collectives& comm);

  bool sharded() const { return sharded_; }
  int owner(std::size_t parameter) const { return owners_[parameter]; }
  bool own(std::size_t parameter) const { return !sharded_ || owners_[parameter] == comm_.rank(); }
  /// After each rank has updated its own: every parameter becomes its owner's. Collective.
  void share_parameters(const std::vector<NamedTensor>& parameters) const;
  /// Brings a tensor of `parameter` from its owner to rank 0: there it is returned, on the CPU; on the owner itself and
  /// elsewhere undefined. `mine` is defined on the owner. Collective.
  at::Tensor to_root(const at::Tensor& mine, std::size_t parameter, const at::Tensor& like) const;

 private:
  bool sharded_;
  Collectives& comm_;
  std::vector<int> owners_;
};

}  // namespace triptych
