// A copy of everything that visit_state lists, on the CPU: what a checkpoint writes while training goes on, what it
// reads back, and what rank 0 sends to its peers.
#pragma once
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "core/module/module.h"
#include "core/module/safetensors.h"
#include "core/module/state.h"
#include "distributed/collectives.h"

namespace triptych {

/// Walks all state of a run with a visitor; the same list for saving, loading, sending and hashing.
using VisitState = std::function<void(StateVisitor&)>;

/// Of all parameters and buffers: what belongs to the model part of a snapshot.
std::set<std::string> names_of_model(const Module& module);

struct StateSnapshot {
  std::vector<NamedTensor> model;  ///< parameters and buffers of the module: model.safetensors
  std::vector<NamedTensor> state;  ///< the rest. Integers are int64 scalars, reals float64 scalars, texts uint8 vectors
  struct Pending {
    at::Tensor to, from;
  };
  std::vector<Pending> pending;  ///< what is not copied yet: `from` must not change before finish() has returned
  /// Makes the pending copies, by the calling thread alone.
  void finish();
};

/// Copies all but large dense tensors on the CPU, which stay pending: they do not change before the next update, and
/// another thread can copy them until then. Items named in `model_names` go to the model part. `room`: an older
/// snapshot that nobody reads any more, whose memory is written again. Throws std::logic_error when two items have one
/// name.
StateSnapshot begin_snapshot(const VisitState& visit, const std::set<std::string>& model_names,
                             StateSnapshot room = {});

/// Whether a tensor of the state keeps its bits from one change of the state to the next (Trainer::before_change), and
/// is large enough for another thread to read it meanwhile: dense on the CPU.
bool stays_until_change(const at::Tensor& tensor);

/// A whole one.
StateSnapshot take_snapshot(const VisitState& visit, const std::set<std::string>& model_names);

/// Copies two files back into the state that `visit` lists. First compares everything and throws CheckpointError with a
/// table of the differences (missing, unknown, other shape or dtype), so that nothing is ever half loaded.
void load_snapshot(const VisitState& visit, const std::set<std::string>& model_names, const SafetensorsReader& model,
                   const SafetensorsReader& state);

/// Makes every rank's state that of `root`. Collective.
void broadcast_state(const VisitState& visit, Collectives& comm, int root);

}  // namespace triptych
