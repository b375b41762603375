// Visitors that copy state out, check it, copy it in, and send it.
#include "core/train/state_snapshot.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cstring>
#include <map>
#include <sstream>
#include <stdexcept>

#include "core/base/errors.h"

namespace triptych {
namespace {

at::Tensor text_tensor(const std::string& value) {
  auto bytes = at::empty({static_cast<std::int64_t>(value.size())}, at::kByte);
  if (!value.empty()) std::memcpy(bytes.data_ptr(), value.data(), value.size());
  return bytes;
}

std::string tensor_text(const at::Tensor& bytes) {
  return {static_cast<const char*>(bytes.const_data_ptr()), static_cast<std::size_t>(bytes.numel())};
}

/// Every kind of item as a tensor.
class TensorVisitor : public StateVisitor {
 public:
  void integer(const std::string& name, std::int64_t& value) override {
    auto scalar = at::scalar_tensor(value, at::kLong);
    tensor(name, scalar);
  }
  void real(const std::string& name, double& value) override {
    auto scalar = at::scalar_tensor(value, at::kDouble);
    tensor(name, scalar);
  }
};

class CopyOut : public TensorVisitor {
 public:
  CopyOut(StateSnapshot& snapshot, const std::set<std::string>& model_names, StateSnapshot room)
      : snapshot_(snapshot), model_names_(model_names) {
    for (auto* part : {&room.model, &room.state})
      for (auto& item : *part) room_.emplace(item.name, std::move(item.tensor));
  }
  void tensor(const std::string& name, at::Tensor& tensor) override {
    if (!seen_.insert(name).second) throw std::logic_error("two items of state are called " + name);
    at::Tensor copy = room_for(name, tensor);
    if (stays_until_change(tensor)) {
      snapshot_.pending.push_back({copy, tensor.detach()});
    } else {
      copy.copy_(tensor.detach());
    }
    (model_names_.contains(name) ? snapshot_.model : snapshot_.state).push_back({name, copy});
  }
  void text(const std::string& name, std::string& value) override {
    auto bytes = text_tensor(value);
    tensor(name, bytes);
  }

 private:
  at::Tensor room_for(const std::string& name, const at::Tensor& tensor) const {
    const auto old = room_.find(name);
    const bool fits = old != room_.end() && old->second.sizes() == tensor.sizes() &&
                      old->second.scalar_type() == tensor.scalar_type();
    return fits ? old->second : at::empty(tensor.sizes(), tensor.options().device(at::kCPU));
  }

  StateSnapshot& snapshot_;
  const std::set<std::string>& model_names_;
  std::map<std::string, at::Tensor> room_;
  std::set<std::string> seen_;
};

std::string shape_text(at::ScalarType dtype, at::IntArrayRef shape) {
  std::ostringstream text;
  text << at::toString(dtype) << ' ' << shape;
  return text.str();
}

/// Lists what differs between the files and the state of this run.
class Compare : public TensorVisitor {
 public:
  Compare(const std::set<std::string>& model_names, const SafetensorsReader& model, const SafetensorsReader& state)
      : model_names_(model_names), model_(model), state_(state) {}
  void tensor(const std::string& name, at::Tensor& tensor) override {
    const auto* stored = find(name);
    if (stored == nullptr) return;
    if (stored->dtype != tensor.scalar_type() || at::IntArrayRef(stored->shape) != tensor.sizes()) {
      differences_.push_back(name + ": the checkpoint has " + shape_text(stored->dtype, stored->shape) + ", this run " +
                             shape_text(tensor.scalar_type(), tensor.sizes()));
    }
  }
  void text(const std::string& name, std::string&) override {
    const auto* stored = find(name);
    if (stored != nullptr && (stored->dtype != at::kByte || stored->shape.size() != 1)) {
      differences_.push_back(name + ": not a text in the checkpoint");
    }
  }
  std::vector<std::string> finish() {
    for (const auto* file : {&model_, &state_}) {
      for (const auto& [name, stored] : file->tensors()) {
        if (!listed_.contains(name)) {
          differences_.push_back(name + ": only in the checkpoint (" + shape_text(stored.dtype, stored.shape) + ")");
        }
      }
    }
    return differences_;
  }

 private:
  const StoredTensor* find(const std::string& name) {
    listed_.insert(name);
    const auto& tensors = (model_names_.contains(name) ? model_ : state_).tensors();
    const auto found = tensors.find(name);
    if (found != tensors.end()) return &found->second;
    differences_.push_back(name + ": missing in the checkpoint");
    return nullptr;
  }
  const std::set<std::string>& model_names_;
  const SafetensorsReader& model_;
  const SafetensorsReader& state_;
  std::set<std::string> listed_;
  std::vector<std::string> differences_;
};

class CopyIn : public StateVisitor {
 public:
  CopyIn(const std::set<std::string>& model_names, const SafetensorsReader& model, const SafetensorsReader& state)
      : model_names_(model_names), model_(model), state_(state) {}
  void tensor(const std::string& name, at::Tensor& tensor) override {
    const c10::NoGradGuard no_grad;
    tensor.copy_(read(name));
  }
  void integer(const std::string& name, std::int64_t& value) override { value = read(name).item<std::int64_t>(); }
  void real(const std::string& name, double& value) override { value = read(name).item<double>(); }
  void text(const std::string& name, std::string& value) override { value = tensor_text(read(name)); }

 private:
  at::Tensor read(const std::string& name) const { return (model_names_.contains(name) ? model_ : state_).read(name); }
  const std::set<std::string>& model_names_;
  const SafetensorsReader& model_;
  const SafetensorsReader& state_;
};

/// Small items would cost one message each: they travel as they are, in the order of the visit, which is the same
/// everywhere.
class Broadcast : public StateVisitor {
 public:
  Broadcast(Collectives& comm, int root) : comm_(comm), root_(root) {}
  void tensor(const std::string&, at::Tensor& tensor) override {
    const c10::NoGradGuard no_grad;
    auto dense = tensor.detach().contiguous();
    comm_.broadcast(dense, root_);
    if (!dense.is_alias_of(tensor)) tensor.copy_(dense);
  }
  void integer(const std::string&, std::int64_t& value) override {
    value = std::stoll(comm_.broadcast_text(std::to_string(value), root_));
  }
  void real(const std::string&, double& value) override {
    char digits[64];
    std::snprintf(digits, sizeof(digits), "%a", value);
    value = std::strtod(comm_.broadcast_text(digits, root_).c_str(), nullptr);
  }
  void text(const std::string&, std::string& value) override { value = comm_.broadcast_text(value, root_); }

 private:
  Collectives& comm_;
  int root_;
};

}  // namespace

std::set<std::string> names_of_model(const Module& module) {
  std::set<std::string> names;
  for (const auto& list : {module.parameters(), module.buffers()})
    for (const auto& item : list) names.insert(item.name);
  return names;
}

bool stays_until_change(const at::Tensor& tensor) {
  constexpr std::size_t kLarge = 64 << 10;
  return tensor.is_cpu() && tensor.is_contiguous() && tensor.nbytes() >= kLarge;
}

/// Not by ATen, whose threads belong to the step that runs meanwhile.
void StateSnapshot::finish() {
  for (const auto& [to, from] : pending) std::memcpy(to.data_ptr(), from.const_data_ptr(), from.nbytes());
  pending.clear();
}

StateSnapshot take_snapshot(const VisitState& visit, const std::set<std::string>& model_names) {
  StateSnapshot snapshot = begin_snapshot(visit, model_names);
  snapshot.finish();
  return snapshot;
}

StateSnapshot begin_snapshot(const VisitState& visit, const std::set<std::string>& model_names, StateSnapshot room) {
  const c10::NoGradGuard no_grad;
  StateSnapshot snapshot;
  CopyOut copy(snapshot, model_names, std::move(room));
  visit(copy);
  return snapshot;
}

void load_snapshot(const VisitState& visit, const std::set<std::string>& model_names, const SafetensorsReader& model,
                   const SafetensorsReader& state) {
  Compare compare(model_names, model, state);
  visit(compare);
  const auto differences = compare.finish();
  if (!differences.empty()) {
    constexpr std::size_t kShown = 12;
    std::string table;
    for (std::size_t i = 0; i < differences.size() && i < kShown; ++i) table += "\n  " + differences[i];
    if (differences.size() > kShown) table += "\n  ... " + std::to_string(differences.size() - kShown) + " more";
    throw CheckpointError("the checkpoint does not fit this run's model, objective or optimizer:" + table);
  }
  CopyIn copy(model_names, model, state);
  visit(copy);
}

void broadcast_state(const VisitState& visit, Collectives& comm, int root) {
  Broadcast broadcast(comm, root);
  visit(broadcast);
}

}  // namespace triptych
