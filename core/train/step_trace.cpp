// Why a trace and no formula: one rule for every tower, present and future, exact in what autograd keeps; and why on
// meta tensors: a ViT-L's step takes no memory there and a fraction of a second. Where LibTorch lacks a meta kernel
// core/module/meta_kernels.cpp has it; autocast's casts come from meta_autocast.cpp. Texts go through at their full
// context: what a real step leaves out by their lengths is not known before data is read.
#include "core/train/step_trace.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <vector>

#include "core/module/flops_counter.h"
#include "core/module/memory_meter.h"
#include "core/module/meta_autocast.h"
#include "core/module/meta_kernels.h"
#include "distributed/thread_backend.h"

namespace triptych {
namespace {

constexpr std::int64_t kMostRows = 1 << 20;  // of a trace: sizes of tensors stay far below what their type holds
constexpr double kBeyondAnyMachine = 1e17;   // bytes

Batch shapes_of_batch(const BatchSpec& spec, std::int64_t rows) {
  const auto shape = [](at::IntArrayRef sizes, at::ScalarType type) {
    return at::empty(sizes, at::TensorOptions(at::kMeta).dtype(type));
  };
  Batch batch;
  batch.images = shape({rows, spec.views, spec.image_size, spec.image_size, 3}, at::kByte);
  if (spec.text) batch.tokens = shape({rows, spec.captions, spec.form.context}, at::kLong);
  batch.labels = shape({rows}, at::kLong);
  return batch;
}

/// Of `times` as many rows. Bytes that no machine has stay numbers that can be added.
StepTrace scaled(StepTrace trace, double times) {
  const auto bytes = [times](std::int64_t n) {
    return static_cast<std::int64_t>(std::min(static_cast<double>(n) * times, kBeyondAnyMachine));
  };
  return {trace.forward_flops * times, trace.backward_flops * times, bytes(trace.kept), bytes(trace.peak)};
}

/// Room for gradients, as the buckets of GradientSync give it before the first step.
void make_gradients(Module& module) {
  for (const auto& [name, parameter] : module.parameters()) {
    if (parameter.requires_grad()) parameter.mutable_grad() = at::empty_like(parameter);
  }
}

StepTrace traced(Objective& on_meta, const TraceRequest& request) {
  register_meta_kernels();
  const MetaStandsFor device(request.device);
  Computation computation = request.computation;
  computation.shape_ranks = request.ranks;
  ThreadGroup alone(1);
  StepScope scope({}, /*seed=*/1, computation, alone.comm(0), nullptr);
  const Batch batch = shapes_of_batch(on_meta.needs(), request.rows);
  make_gradients(on_meta.module());

  StepTrace trace;
  const MemoryMeter meter;
  const FlopsCounter counter;
  std::vector<at::Tensor> encoded = on_meta.encode(batch, scope), roots, gradients;
  trace.forward_flops = counter.total();
  trace.kept = meter.live();
  for (const auto& rows : encoded) {
    if (!rows.requires_grad()) continue;  // of a frozen tower
    roots.push_back(rows);
    gradients.push_back(at::empty_like(rows));
  }
  if (!roots.empty()) torch::autograd::backward(roots, gradients);
  trace.backward_flops = counter.total() - trace.forward_flops;
  trace.peak = meter.peak();
  on_meta.module().end_step(/*updated=*/false);
  return trace;
}

}  // namespace

StepTrace trace_step(Objective& on_meta, const TraceRequest& request) {
  if (request.rows <= kMostRows) return traced(on_meta, request);
  TraceRequest fewer = request;
  fewer.rows = kMostRows;
  return scaled(traced(on_meta, fewer), static_cast<double>(request.rows) / static_cast<double>(kMostRows));
}

}  // namespace triptych
