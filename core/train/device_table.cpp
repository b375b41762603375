// One row a device.
#include "core/train/device_table.h"

#include "core/base/errors.h"

namespace triptych {
namespace {

constexpr double kTera = 1e12, kGiga = 1e9;

const DeviceFacts kTable[] = {
    // NVIDIA H100 SXM data sheet: 80 GB; dense bf16 989, fp32 67, fp64 67 TFLOP/s (TF32 is off in this program).
    // Assumed until measured: links within a machine 390 GB/s (900 by the data sheet), across 400 Gbit/s InfiniBand
    // (NDR)
    // a GPU; utilisation 0.2 in bf16, what follows from NeMo's published rate of CLIP g/14 on this GPU, 0.6 elsewhere.
    {.name = "h100",
     .type = at::kCUDA,
     .memory = 80'000'000'000,
     .narrow_flops = 989 * kTera,
     .full_flops = 67 * kTera,
     .double_flops = 67 * kTera,
     .narrow_utilisation = 0.2,
     .full_utilisation = 0.6,
     .within = {3e-6, 390 * kGiga},
     .across = {8e-6, 50 * kGiga}},
    // NVIDIA A100 80 GB SXM data sheet: dense bf16 312, fp32 19.5, fp64 19.5 TFLOP/s. Assumed until measured: links
    // within
    // a machine 210 GB/s (600 by the data sheet), across 200 Gbit/s InfiniBand (HDR) a GPU; utilisation 0.4 in bf16,
    // NeMo's
    // rate of CLIP g/14 on this GPU (39 %), 0.6 elsewhere.
    {.name = "a100",
     .type = at::kCUDA,
     .memory = 80'000'000'000,
     .narrow_flops = 312 * kTera,
     .full_flops = 19.5 * kTera,
     .double_flops = 19.5 * kTera,
     .narrow_utilisation = 0.4,
     .full_utilisation = 0.6,
     .within = {3e-6, 210 * kGiga},
     .across = {8e-6, 25 * kGiga}},
    // One core with AMX, of 2 that multiply 1.7 TFLOP/s in bf16 and 0.346 in fp32. Utilisation: what a step of ViT-B/32
    // reaches there (docs/performance.md, "Allocator": 32 rows in 3.28 s and 5.89 s, 31 GFLOP a row). Within: this
    // program's
    // sum of 25 MiB over 2 ranks. Assumed: 10 Gbit/s Ethernet across, all latencies.
    {.name = "cpu",
     .type = at::kCPU,
     .memory = 0,
     .narrow_flops = 0.85 * kTera,
     .full_flops = 0.173 * kTera,
     .double_flops = 0.0865 * kTera,
     .narrow_utilisation = 0.18,
     .full_utilisation = 0.49,
     .within = {1e-6, 0.9 * kGiga},
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
