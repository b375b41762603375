// The ring of ranks against the plain formula on the whole batch, and that no rank holds it.
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "losses/clip.h"
#include "losses/pair_exchange.h"
#include "losses/unicl.h"
#include "tests/losses/plain_formulas.h"
#include "tests/losses/ranks.h"

namespace triptych {
namespace {

constexpr double kRingExact = 1e-12;

struct RingBatch {
  at::Tensor image, text, labels, log_scale = at::scalar_tensor(1.3, at::kDouble);
  RingBatch(std::int64_t rows, std::int64_t texts)
      : image(unit(draw({1}, {rows, 7}))), text(unit(draw({2}, {rows * texts, 7}))) {
    const at::Tensor row = at::arange(rows, at::kLong);
    labels = at::where(row % 3 == 0, at::full_like(row, kNoLabel), row % 5);
  }
};

struct PlainResult {
  at::Tensor loss, image, text, log_scale;
};
PlainResult plain(const RingBatch& batch, UniclDirections directions, const at::Tensor& labels,
                  const at::Tensor& mixed = {}) {
  const at::Tensor image = leaf(batch.image), text = leaf(batch.text), log_scale = leaf(batch.log_scale);
  const at::Tensor loss = plain_unicl(image, text, labels, log_scale.exp(), directions != UniclDirections::kColumns,
                                      directions != UniclDirections::kRows, mixed);
  loss.backward();
  return {loss.detach(), image.grad(), text.grad(), log_scale.grad()};
}

void expect_plain(const RankResults& got, const PlainResult& expected, int size, const std::string& where) {
  EXPECT_LT(difference(got.mean_loss(), expected.loss), kRingExact) << where;
  EXPECT_LT(difference(got.image_grad_Bd / size, expected.image), kRingExact) << where;
  EXPECT_LT(difference(got.text_grad_Bd / size, expected.text), kRingExact) << where;
  EXPECT_LT(difference(got.mean_log_scale_grad(), expected.log_scale), kRingExact) << where;
}

RankLoss ring_unicl(UniclDirections directions, Exchange exchange) {
  return [=](const auto& image, const auto& text, const auto& labels, const auto& scale, Collectives& comm) {
    return unicl_loss(image, text, labels, scale, comm, directions, {}, exchange);
  };
}

TEST(Ring, UniclOnOneToFourRanksInBothForms) {
  for (const std::int64_t texts : {1, 2}) {
    const RingBatch batch(24, texts);
    for (const auto directions : {UniclDirections::kBoth, UniclDirections::kRows, UniclDirections::kColumns}) {
      const auto expected = plain(batch, directions, batch.labels);
      for (const auto exchange : {Exchange::kGather, Exchange::kRing}) {
        for (const int size : {1, 2, 3, 4}) {
          const auto got =
              on_ranks(size, batch.image, batch.text, batch.labels, batch.log_scale, ring_unicl(directions, exchange));
          expect_plain(got, expected, size,
                       std::to_string(size) + " ranks, " + std::to_string(texts) + " texts, direction " +
                           std::to_string(static_cast<int>(directions)) +
                           (exchange == Exchange::kRing ? ", ring" : ", gather"));
        }
      }
    }
  }
}

TEST(Ring, ClipAndMixedLabels) {
  const RingBatch batch(24, 1);
  const at::Tensor none = at::full({24}, kNoLabel, at::kLong);
  const auto of_clip = plain(batch, UniclDirections::kBoth, none);
  const at::Tensor first = at::arange(24, at::kLong) % 5, second = at::arange(24, at::kLong) % 3;
  const at::Tensor share = draw({3}, {24}).sigmoid();
  const auto of_mixed = plain(batch, UniclDirections::kBoth, first, plain_mixed_target(first, second, share));
  for (const int size : {1, 2, 3, 4}) {
    const auto where = std::to_string(size) + " ranks";
    expect_plain(on_ranks(size, batch.image, batch.text, none, batch.log_scale,
                          [](const auto& image, const auto& text, const auto&, const auto& scale, Collectives& comm) {
                            return clip_loss(image, text, scale, comm, {}, Exchange::kRing);
                          }),
                 of_clip, size, where);
    expect_plain(
        on_ranks(size, batch.image, batch.text, first, batch.log_scale,
                 [&](const auto& image, const auto& text, const auto& labels, const auto& scale, Collectives& comm) {
                   const RowLabels mixed(labels, local_rows(second, comm), local_rows(share, comm));
                   return unicl_loss(image, text, mixed, scale, comm, UniclDirections::kBoth, {}, Exchange::kRing);
                 }),
        of_mixed, size, where);
  }
}

TEST(Ring, SeveralTilesABlock) {
  const std::int64_t rows = 2400;  // blocks of 1200: parts of tiles of queries and of keys
  const RingBatch batch(rows, 1);
  const at::Tensor scale = at::scalar_tensor(3.0, at::kDouble);
  const auto run = [&](Exchange exchange) {
    return on_ranks(2, batch.image, batch.text, batch.labels, scale, ring_unicl(UniclDirections::kBoth, exchange));
  };
  const auto ring = run(Exchange::kRing), gather = run(Exchange::kGather);
  EXPECT_LT(difference(ring.mean_loss(), gather.mean_loss()), kRingExact);
  EXPECT_LT(difference(ring.image_grad_Bd, gather.image_grad_Bd), kRingExact);
  EXPECT_LT(difference(ring.text_grad_Bd, gather.text_grad_Bd), kRingExact);
  EXPECT_LT(difference(ring.mean_log_scale_grad(), gather.mean_log_scale_grad()), kRingExact);
}

TEST(Ring, HalfProductsAgreeWithTheGatheredOnes) {
  const RingBatch batch(96, 1);
  const auto run = [&](Exchange exchange) {
    return on_ranks(3, batch.image.to(at::kFloat), batch.text.to(at::kFloat), batch.labels,
                    batch.log_scale.to(at::kFloat),
                    [=](const auto& image, const auto& text, const auto& labels, const auto& s, Collectives& comm) {
                      return unicl_loss(image, text, labels, s, comm, UniclDirections::kBoth, at::kBFloat16, exchange);
                    });
  };
  const auto ring = run(Exchange::kRing), gather = run(Exchange::kGather);
  EXPECT_LT(difference(ring.mean_loss(), gather.mean_loss()), 1e-6);
  // A factor of the gradient may round to the next bfloat16 where its fp32 differs in the last bit.
  EXPECT_LT(difference(ring.image_grad_Bd, gather.image_grad_Bd),
            gather.image_grad_Bd.abs().max().item<double>() / 256);
}

/// Every block comes once to every rank, one rank's rows at a time.
TEST(Ring, EveryBlockVisitsEveryRank) {
  for (const int size : {1, 2, 3, 4}) {
    run_ranks(size, [&](Collectives& comm) {
      const auto of = [](double rank) { return at::full({2, 3}, rank, at::kDouble); };
      const PairExchange exchange(of(comm.rank()), of(-comm.rank()), Exchange::kRing, comm);
      std::vector<int> seen(static_cast<std::size_t>(size));
      exchange.for_blocks([&](const PairBlock& block) {
        ASSERT_EQ(block.image_nd.size(0), 2);
        const std::int64_t rank = block.image / 2;
        EXPECT_EQ(block.text, block.image);
        EXPECT_TRUE(block.image_nd.equal(of(static_cast<double>(rank))));
        EXPECT_TRUE(block.text_kd.equal(of(static_cast<double>(-rank))));
        ++seen[static_cast<std::size_t>(rank)];
      });
      EXPECT_EQ(seen, std::vector<int>(static_cast<std::size_t>(size), 1));
    });
  }
}

/// A block taken for its neighbour's (labels and statistics of the wrong rows) must show.
TEST(RingMistake, LabelsOfAnotherBlockAreSeen) {
  const RingBatch batch(24, 1);
  const auto expected = plain(batch, UniclDirections::kBoth, batch.labels);
  for (const int size : {2, 3, 4}) {
    const auto got = on_ranks(size, batch.image, batch.text, batch.labels.roll(24 / size), batch.log_scale,
                              ring_unicl(UniclDirections::kBoth, Exchange::kRing));
    EXPECT_GT(difference(got.mean_loss(), expected.loss), 1e-3) << size;
  }
}

}  // namespace
}  // namespace triptych
