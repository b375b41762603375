// The kernel of resizing: a weighted sum of byte rows, 48 neighbours at a time, in fixed point. Internal to data/image.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace triptych {

inline constexpr int kWeightBits =
    22;  // fraction bits of a weight: with 8 bits of pixel and 2 of overshoot 32 bits hold it
inline constexpr int kSumLanes = 48;  // bytes a call makes: 16 rows x 3 channels, or 48 neighbours of a row

/// out[i] = clip((sum over k < count of weights[k] * source[k * step + i] + half) >> kWeightBits) for i < kSumLanes.
using WeightedSum = void (*)(const std::uint8_t* source, std::ptrdiff_t step, const std::int32_t* weights, int count,
                             std::uint8_t* out);

struct WeightedSumKernel {
  const char* instruction_set;
  WeightedSum run;
};

/// Those that this machine can run, the fastest first. All give the same bytes: sums of integers.
std::vector<WeightedSumKernel> weighted_sum_kernels();

}  // namespace triptych
