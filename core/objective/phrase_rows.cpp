// Two walks over the list: how many phrases a row has, and where they lie.
#include "core/objective/phrase_rows.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace triptych {

PhraseRows phrase_rows(const at::Tensor& phrases, std::int64_t n, std::int64_t tokens, std::int64_t most) {
  TORCH_CHECK(
      phrases.scalar_type() == at::kLong && phrases.dim() == 2 && phrases.size(1) == 4 && phrases.device().is_cpu(),
      "phrases must be int64 [phrases, 4] on the CPU, got ", phrases.scalar_type(), " ", phrases.sizes());
  PhraseRows rows{{}, at::zeros({n}, at::kLong)};
  auto count = rows.count_n.accessor<std::int64_t, 1>();
  const auto place = phrases.accessor<std::int64_t, 2>();
  const auto each = [&](const auto& use) {
    for (std::int64_t i = 0; i < phrases.size(0); ++i) {
      TORCH_CHECK(0 <= place[i][0] && place[i][0] < n, "a phrase of row ", place[i][0], " in a batch of ", n, " rows");
      if (place[i][1] == 0 && count[place[i][0]] < most) use(place[i][0], place[i][2], place[i][3]);
    }
  };
  each([&](std::int64_t row, std::int64_t, std::int64_t) { ++count[row]; });
  const std::int64_t columns = n == 0 ? 1 : std::max<std::int64_t>(1, rows.count_n.max().item<std::int64_t>());
  rows.share_nPl = at::zeros({n, columns, tokens}, at::kFloat);
  rows.count_n.zero_();
  auto share = rows.share_nPl.accessor<float, 3>();
  each([&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    TORCH_CHECK(0 <= begin && begin < end && end <= tokens, "a phrase at word pieces [", begin, ", ", end, ") of ",
                tokens);
    for (std::int64_t piece = begin; piece < end; ++piece)
      share[row][count[row]][piece] = 1.0F / static_cast<float>(end - begin);
    ++count[row];
  });
  return rows;
}

}  // namespace triptych
