// The measurement behind the attention rule (core/module/attention.h).
#pragma once
#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

namespace triptych {

/// Forward and backward of attention, plain and fused, for each type and number of tokens: the best of several runs.
nlohmann::ordered_json bench_attention(at::Device device, double seconds);

}  // namespace triptych
