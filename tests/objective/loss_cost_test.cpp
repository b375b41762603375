// What a plan counts for TCL's local contrast, against what the losses themselves take.
#include "core/objective/loss_cost.h"

#include <gtest/gtest.h>

#include "core/objective/embedding.h"
#include "losses/local_contrast.h"
#include "tests/support/cpu_bytes.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

constexpr std::int64_t kContext = 25, kDim = 64;

TclConfig with_locals(double weight, const std::string& pool = "cells") {
  TclConfig config;
  config.queue = 256;
  config.lmi.pool = pool;
  config.weights.lmi = weight;
  return config;
}

LossCost planned(const TclConfig& config, std::int64_t rows, std::int64_t grid = 16) {
  BatchSpec spec;
  spec.form.context = kContext;
  return loss_cost(config, spec, {.local_batch = 2 * rows, .micro_batch = rows, .embed_dim = kDim, .grid = grid});
}

/// Projections as they are, then what the objective does with them.
std::int64_t measured(std::int64_t rows, std::int64_t grid) {
  const at::Tensor global = leaf(at::ones({rows, kDim}, at::kFloat)), t = at::scalar_tensor(0.07, at::kFloat);
  const CpuBytes bytes;
  LocalKeys patches{at::ones({rows, grid * grid, kDim}, at::kFloat)};
  LocalKeys words{at::ones({rows, kContext - 1, kDim}, at::kFloat), at::ones({rows, kContext - 1}, at::kBool)};
  patches.local_nld = pooled_cells(unit_rows(patches.local_nld, at::kFloat), 4, CellPooling::kCells);
  words.local_nld = unit_rows(words.local_nld, at::kFloat);
  local_contrast_loss(global, patches, t, LocalMean::kAll);
  local_contrast_loss(global, words, t, LocalMean::kSample);
  return bytes.peak();
}

/// On a fine grid the most is there while patches are projected, on a coarse one while locals are contrasted.
TEST(LossCost, LocalContrastTakesWhatIsPlanned) {
  for (const std::int64_t grid : {4, 16}) {
    for (const std::int64_t rows : {64, 128, 512}) {
      const auto plan = static_cast<double>(planned(with_locals(1), rows, grid).beside),
                 got = static_cast<double>(measured(rows, grid));
      EXPECT_GE(plan, 0.95 * got) << grid << " " << rows;
      EXPECT_LE(plan, 1.1 * got) << grid << " " << rows;
    }
  }
}

TEST(LossCost, LocalContrastCountsWhereItIsTrained) {
  const LossCost without = planned(with_locals(0), 128), with = planned(with_locals(1), 128);
  EXPECT_EQ(without.beside, 0);
  // 256 rows against 16 patches and 24 words of 128: logits, and gradients from them.
  EXPECT_EQ(with.flops - without.flops, 2 * 2.0 * 256 * 128 * (16 + 24) * kDim);
  EXPECT_EQ(planned(with_locals(1, "published"), 128).beside, with.beside);  // a window of 4 on a grid of 16
}

}  // namespace
}  // namespace triptych
