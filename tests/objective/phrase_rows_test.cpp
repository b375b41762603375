// Phrases as means over word pieces, against loops.
#include "core/objective/phrase_rows.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "tests/support/tensors.h"

namespace triptych {
namespace {

using PhrasePlace = std::array<std::int64_t, 4>;  ///< row, text, begin, end

at::Tensor phrase_list(const std::vector<PhrasePlace>& places) {
  at::Tensor list = at::empty({static_cast<std::int64_t>(places.size()), 4}, at::kLong);
  for (std::size_t i = 0; i < places.size(); ++i)
    for (std::size_t k = 0; k < 4; ++k) list[static_cast<std::int64_t>(i)][static_cast<std::int64_t>(k)] = places[i][k];
  return list;
}

TEST(PhraseRows, PoolsWordPiecesAsALoopDoes) {
  const std::vector<PhrasePlace> places = {{0, 0, 1, 4}, {0, 0, 2, 3}, {2, 0, 0, 7}, {2, 0, 4, 6}, {2, 0, 4, 6}};
  const auto got = phrase_rows(phrase_list(places), 4, 7, 6);
  EXPECT_TRUE(at::equal(got.count_n, at::tensor({2, 0, 3, 0}, at::kLong)));
  EXPECT_EQ(got.share_nPl.sizes(), at::IntArrayRef({4, 3, 7}));
  EXPECT_EQ(got.share_nPl.scalar_type(), at::kFloat);
  const at::Tensor state = draw({141}, {4, 7, 5}), pooled = at::bmm(got.share_nPl.to(at::kDouble), state);
  at::Tensor wanted = at::zeros({4, 3, 5}, at::kDouble);
  std::vector<std::int64_t> next(4, 0);
  for (const auto& [row, text, begin, end] : places) {
    const std::int64_t at = next[static_cast<std::size_t>(row)]++;
    for (std::int64_t piece = begin; piece < end; ++piece)
      wanted[row][at] += state[row][piece] / static_cast<double>(end - begin);
  }
  EXPECT_LT(difference(pooled, wanted), 1e-6);
}

TEST(PhraseRows, OfTooManyTheFirstPlay) {
  std::vector<PhrasePlace> places;
  for (std::int64_t i = 0; i < 5; ++i) places.push_back({1, 0, i, i + 1});
  const auto all = phrase_rows(phrase_list(places), 2, 5, 9), two = phrase_rows(phrase_list(places), 2, 5, 2);
  EXPECT_TRUE(at::equal(all.count_n, at::tensor({0, 5}, at::kLong)));
  EXPECT_TRUE(at::equal(all.share_nPl[1], at::eye(5)));
  EXPECT_TRUE(at::equal(two.count_n, at::tensor({0, 2}, at::kLong)));
  EXPECT_TRUE(at::equal(two.share_nPl[1], at::eye(5).narrow(0, 0, 2)));
}

TEST(PhraseRows, PhrasesOfOtherTextsDoNotCount) {
  const auto got = phrase_rows(phrase_list({{0, 1, 0, 2}, {0, 0, 3, 4}, {0, 2, 9, 8}, {1, 1, 0, 1}}), 2, 5, 1);
  EXPECT_TRUE(at::equal(got.count_n, at::tensor({1, 0}, at::kLong)));
  EXPECT_EQ(got.share_nPl[0][0][3].item<double>(), 1);
  EXPECT_EQ(got.share_nPl.sum().item<double>(), 1);
}

TEST(PhraseRows, WithoutPhrasesThereIsOneEmptyColumn) {
  const auto none = phrase_rows(phrase_list({}), 3, 5, 4);
  EXPECT_TRUE(at::equal(none.count_n, at::zeros({3}, at::kLong)));
  EXPECT_TRUE(at::equal(none.share_nPl, at::zeros({3, 1, 5})));
  EXPECT_EQ(phrase_rows(phrase_list({}), 0, 5, 4).share_nPl.sizes(), at::IntArrayRef({0, 1, 5}));
}

TEST(PhraseRows, PlacesThatDoNotExistAreRefused) {
  const std::vector<PhrasePlace> bad_spans = {{0, 0, 2, 2}, {0, 0, 3, 2}, {0, 0, -1, 2}, {0, 0, 2, 6}},
                                 bad_rows = {{2, 0, 0, 1}, {-1, 0, 0, 1}};
  for (const auto& bad : bad_spans) EXPECT_ANY_THROW(phrase_rows(phrase_list({bad}), 2, 5, 4));
  for (const auto& bad : bad_rows) EXPECT_ANY_THROW(phrase_rows(phrase_list({bad}), 2, 5, 4));
  EXPECT_NO_THROW(phrase_rows(phrase_list({{1, 0, 0, 5}}), 2, 5, 4));
  EXPECT_ANY_THROW(phrase_rows(at::zeros({2, 3}, at::kLong), 2, 5, 4));
  EXPECT_ANY_THROW(phrase_rows(at::zeros({2, 4}, at::kInt), 2, 5, 4));
}

}  // namespace
}  // namespace triptych
