// Memory of batches: given again when nobody has it, and never before.
#include "data/picture_memory.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace triptych {
namespace {

TEST(PictureMemory, IsUsedAgainOnceTheLastViewIsGone) {
  PictureMemory memory;
  at::Tensor first = memory.take({4, 2, 8, 8, 3});
  EXPECT_EQ(first.sizes(), (std::vector<std::int64_t>{4, 2, 8, 8, 3}));
  EXPECT_EQ(first.scalar_type(), at::kByte);
  const auto* place = first.const_data_ptr<std::uint8_t>();
  at::Tensor part = first.narrow(0, 2, 1);
  first = at::Tensor();
  EXPECT_NE(memory.take({4, 2, 8, 8, 3}).const_data_ptr<std::uint8_t>(), place) << "a part of it is still held";
  part.fill_(7);
  part = at::Tensor();
  bool again = false;
  std::vector<at::Tensor> held;  // the other block is free, too
  for (int i = 0; i < 2; ++i) {
    held.push_back(memory.take({4, 2, 8, 8, 3}));
    again |= held.back().const_data_ptr<std::uint8_t>() == place;
  }
  EXPECT_TRUE(again);
  EXPECT_NE(memory.take({4, 1, 8, 8, 3}).const_data_ptr<std::uint8_t>(), place);
}

TEST(PictureMemory, TensorsOutliveIt) {
  at::Tensor kept;
  {
    PictureMemory memory;
    kept = memory.take({3, 100});
    memory.take({3, 100});
  }
  EXPECT_EQ(kept.fill_(1).sum().item<std::int64_t>(), 300);
  std::thread([tensor = std::move(kept)]() mutable { tensor = at::Tensor(); }).join();
}

}  // namespace
}  // namespace triptych
