// What a benchmark computes on: rows that are made up, or those of a safetensors file, so that another program can do
// equal work.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/module/safetensors.h"
#include "core/train/train_config.h"
#include "core/types/batch.h"

namespace triptych {

/// The rows of one rank.
class BenchInputs {
 public:
  static constexpr std::int64_t kLabels = 1000;  ///< of made-up rows

  /// `path` may be empty: all is made up. Throws CheckpointError for a file that is no safetensors file.
  BenchInputs(const std::string& path, int rank, int size);

  /// Rows of a rank in the file's `name`; without a file `wanted`. Throws ConfigError for none, or not the same for all
  /// ranks.
  std::int64_t local_rows(const std::string& name, std::int64_t wanted) const;
  /// fp32 [rows, width]: the file's, or made-up rows of unit length, others for other names.
  at::Tensor embeddings(const std::string& name, std::int64_t rows, std::int64_t width) const;
  /// int64 [rows]: the file's "labels", or made up.
  at::Tensor labels(std::int64_t rows) const;
  /// The rows of a step in micro-batches: the file's "images" uint8 [B, side, side, 3] and "tokens" int64 [B, context],
  /// or noise and texts of 16 words; of each text four phrases where `spec` asks for them.
  std::vector<Batch> batches(const StepPlan& plan, const BatchSpec& spec) const;

 private:
  at::Tensor own(const std::string& name, at::ScalarType type, std::vector<std::int64_t> shape) const;
  at::Tensor pictures(std::int64_t rows, const BatchSpec& spec) const;
  at::Tensor texts(std::int64_t rows, const BatchSpec& spec) const;
  at::Tensor phrases(std::int64_t rows, const BatchSpec& spec) const;

  std::optional<SafetensorsReader> file_;
  int rank_, size_;
};

}  // namespace triptych
