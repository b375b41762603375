// One row a device.
#include "core/train/device_table.h"

#include "core/base/errors.h"

namespace triptych {
namespace {

constexpr double kTera = 1e12, kGiga = 1e9;

const DeviceFacts kTable[] = {
    // NVIDIA H100 SXM data sheet: 80 GB; dense bf16 989, fp32 67, fp64 67 TFLOP/s (TF32 is off in this program).
    // Within: 391 GB/s, from 67 MB gathered over 8 GPUs in 0.15 ms. Across: 400 Gbit/s InfiniBand (NDR) a GPU.
    // Utilisation 0.4: NeMo reports 39 % for CLIP on A100; taken for both GPUs, an assumption until measured.
    {.name = "h100",
     .type = at::kCUDA,
     .memory = 80'000'000'000,
     .narrow_flops = 989 * kTera,
     .full_flops = 67 * kTera,
     .double_flops = 67 * kTera,
     .narrow_utilisation = 0.4,
     .full_utilisation = 0.6,
     .within = {3e-6, 391 * kGiga},
     .across = {8e-6, 50 * kGiga}},
    // NVIDIA A100 80 GB SXM data sheet: dense bf16 312, fp32 19.5, fp64 19.5 TFLOP/s. Within: 209 GB/s, from the same
    // 67 MB in 0.28 ms. Across: 200 Gbit/s InfiniBand (HDR) a GPU.
    {.name = "a100",
     .type = at::kCUDA,
     .memory = 80'000'000'000,
     .narrow_flops = 312 * kTera,
     .full_flops = 19.5 * kTera,
     .double_flops = 19.5 * kTera,
     .narrow_utilisation = 0.4,
     .full_utilisation = 0.6,
     .within = {3e-6, 209 * kGiga},
     .across = {8e-6, 25 * kGiga}},
    // One core with AMX, measured on 2 (bf16 1.7, fp32 0.346 TFLOP/s in products) and the shares that a step of
    // ViT-B/32
    // reached there. Within: 605 MB averaged over 2 ranks in 0.21 s by Open MPI. Across: 10 Gbit/s Ethernet, assumed,
    // as
    // are all latencies here.
    {.name = "cpu",
     .type = at::kCPU,
     .memory = 0,
     .narrow_flops = 0.85 * kTera,
     .full_flops = 0.173 * kTera,
     .double_flops = 0.0865 * kTera,
     .narrow_utilisation = 0.46,
     .full_utilisation = 0.6,
     .within = {1e-6, 2.9 * kGiga},
     .across = {30e-6, 1.25 * kGiga}},
};

}  // namespace

double DeviceFacts::peak_flops(const std::string& precision) const {
  if (precision == "fp64") return double_flops;
  return precision == "fp32" ? full_flops : narrow_flops;
}

double DeviceFacts::utilisation(const std::string& precision) const {
  return precision == "bf16" || precision == "fp16" ? narrow_utilisation : full_utilisation;
}

const DeviceFacts& device_facts(const std::string& name) {
  for (const auto& device : kTable) {
    if (device.name == name) return device;
  }
  throw ConfigError("--device: got '" + name + "', expected h100, a100 or cpu");
}

}  // namespace triptych
