// Which words are masked, and the loss of telling them against the plain formula under autograd.
#include "losses/masked_words.h"

#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "tests/support/tensors.h"

namespace triptych {
namespace {

at::Tensor word_draws(std::uint64_t key, at::IntArrayRef shape) {
  return at::empty(shape, at::kFloat).uniform_(0, 1, keyed_generator(random_key(9, Purpose::kTest, {key}), at::kCPU));
}

MaskDraws draws(at::IntArrayRef shape) {
  return {word_draws(1, shape), word_draws(2, shape), word_draws(3, shape), word_draws(4, shape)};
}

/// Start, words, end, padding; every row another length. Words are 1000 to 1999, so that no word is special.
at::Tensor captions(std::int64_t b, std::int64_t l) {
  const WordIds ids;
  const at::Tensor place = at::arange(l).unsqueeze(0).expand({b, l}), length = 3 + at::arange(b).unsqueeze(1) % (l - 3);
  at::Tensor tokens = 1000 + (at::arange(b).unsqueeze(1) * 37 + place * 11) % 1000;
  tokens = at::where(place == 0, at::full_like(tokens, ids.start), tokens);
  tokens = at::where(place == length, at::full_like(tokens, ids.end), tokens);
  return at::where(place > length, at::full_like(tokens, ids.pad), tokens);
}

double share(const at::Tensor& of, const at::Tensor& among) {
  return of.logical_and(among).sum().item<double>() / among.sum().item<double>();
}

TEST(MaskedWords, FifteenPercentMostlyMasked) {
  const WordIds ids;
  const at::Tensor tokens = captions(4000, 25), kept = tokens.clone(), words = tokens >= 1000;
  const auto masked = mask_words(tokens, draws(tokens.sizes()), 0.15, ids);
  EXPECT_TRUE(at::equal(tokens, kept));
  EXPECT_EQ(masked.tokens_bl.scalar_type(), at::kLong);
  EXPECT_FALSE(masked.chosen_bl.logical_and(words.logical_not()).any().item<bool>());  // never pad, start, end
  EXPECT_TRUE(at::equal(masked.tokens_bl.masked_select(masked.chosen_bl.logical_not()),
                        tokens.masked_select(masked.chosen_bl.logical_not())));
  // About 50 000 words, 7 500 chosen: bounds of 5 deviations
  const double chosen = masked.chosen_bl.sum().item<double>();
  EXPECT_GT(chosen, 6000);
  EXPECT_NEAR(share(masked.chosen_bl, words), 0.15, 5 * std::sqrt(0.15 * 0.85 / words.sum().item<double>()));
  const at::Tensor hidden = masked.tokens_bl == ids.mask, same = masked.tokens_bl == tokens;
  EXPECT_NEAR(share(hidden, masked.chosen_bl), 0.8, 5 * std::sqrt(0.16 / chosen));
  EXPECT_NEAR(share(same, masked.chosen_bl), 0.1, 5 * std::sqrt(0.09 / chosen));
  // Random words: evenly over the vocabulary, special ones too.
  const at::Tensor random = masked.tokens_bl.masked_select(
      masked.chosen_bl.logical_and(hidden.logical_not()).logical_and(same.logical_not()));
  EXPECT_NEAR(static_cast<double>(random.size(0)) / chosen, 0.1, 5 * std::sqrt(0.09 / chosen));
  const double deviation = 30522 / std::sqrt(12.0 * static_cast<double>(random.size(0)));
  EXPECT_NEAR(random.to(at::kDouble).mean().item<double>(), 15260.5, 5 * deviation);
  EXPECT_LT(random.min().item<std::int64_t>(), 1000);
  EXPECT_GT(random.max().item<std::int64_t>(), 29522);
}

TEST(MaskedWords, IsTheRuleWordByWord) {
  const WordIds ids{3, 5, 6, 9, 40};
  const at::Tensor tokens = (at::arange(2000) % 40).view({100, 20});
  const MaskDraws d = draws(tokens.sizes());
  const auto rule = [&](bool draw_by_choice) {  // the mistake: one draw for two questions
    at::Tensor out = tokens.clone();
    for (std::int64_t i = 0; i < tokens.numel(); ++i) {
      const auto at = [&](const at::Tensor& of) { return of.flatten()[i].item<double>(); };
      const auto token = tokens.flatten()[i].item<std::int64_t>();
      if (!(at(d.chosen) < 0.5) || token == ids.pad || token == ids.start || token == ids.end) continue;
      at::Tensor word = out.flatten()[i];
      if (at(draw_by_choice ? d.chosen : d.replace) < 0.8) {
        word.fill_(ids.mask);
      } else if (at(d.random) < 0.5) {
        word.fill_(static_cast<std::int64_t>(at(d.word) * 40));
      }
    }
    return out;
  };
  const auto masked = mask_words(tokens, d, 0.5, ids);
  EXPECT_TRUE(at::equal(masked.tokens_bl, rule(false)));
  EXPECT_FALSE(at::equal(masked.tokens_bl, rule(true)));
}

TEST(MaskedWords, EndsOfTheRange) {
  const at::Tensor tokens = captions(30, 12), words = tokens >= 1000;
  MaskDraws d = draws(tokens.sizes());
  EXPECT_FALSE(mask_words(tokens, d, 0, {}).chosen_bl.any().item<bool>());
  EXPECT_TRUE(at::equal(mask_words(tokens, d, 1, {}).chosen_bl, words));
  // The largest draw below 1 is a word of any vocabulary, in fp64's product.
  d.replace.fill_(0.9);
  d.random.fill_(0.1);
  const double most = 1 - std::numeric_limits<float>::epsilon() / 2.0;
  d.word.fill_(most);
  WordIds large;
  for (const std::int64_t vocabulary : {30522, 1, 100'000'000}) {
    large.vocabulary = vocabulary;
    const auto word = mask_words(tokens, d, 1, large).tokens_bl.masked_select(words);
    const auto expected = static_cast<std::int64_t>(most * static_cast<double>(vocabulary));
    EXPECT_LT(expected, vocabulary);
    EXPECT_TRUE(word.eq(expected).all().item<bool>()) << vocabulary;
  }
}

TEST(MaskedWords, RefusesWhatDoesNotFit) {
  const at::Tensor tokens = captions(4, 8);
  const MaskDraws d = draws(tokens.sizes());
  EXPECT_THROW(mask_words(tokens.to(at::kInt), d, 0.15, {}), c10::Error);
  EXPECT_THROW(mask_words(tokens, draws({4, 7}), 0.15, {}), c10::Error);
  EXPECT_THROW(mask_words(tokens, {d.chosen, d.replace, d.random, {}}, 0.15, {}), c10::Error);
  EXPECT_THROW(mask_words(tokens, d, 1.5, {}), c10::Error);
  EXPECT_THROW(mask_words(tokens, d, 0.15, {0, 1, 2, 3, 0}), c10::Error);
}

struct WordResult {
  at::Tensor loss, student;
};

/// The formula of the header, with all its matrices. `axis` 0 is a mistake.
WordResult plain(const at::Tensor& student_nv, const at::Tensor& target_n, const at::Tensor& teacher_nv, double alpha,
                 std::int64_t axis = 1) {
  const at::Tensor student = leaf(student_nv), log_share = student.log_softmax(axis);
  at::Tensor loss = at::zeros({}, student.options());
  for (std::int64_t i = 0; i < student.size(0); ++i) {
    loss = loss - (1 - alpha) * log_share[i][target_n[i].item<std::int64_t>()];
    if (teacher_nv.defined()) loss = loss - alpha * (teacher_nv[i].softmax(0) * log_share[i]).sum();
  }
  loss.backward();
  return {loss.detach(), student.grad()};
}

WordResult of(const at::Tensor& student_nv, const at::Tensor& target_n, const at::Tensor& teacher_nv, double alpha) {
  const at::Tensor student = leaf(student_nv), loss = masked_word_loss(student, target_n, teacher_nv, alpha);
  loss.backward();
  return {loss.detach(), student.grad()};
}

at::Tensor targets(std::int64_t n, std::int64_t v) {
  return (at::arange(n) * 7 + 3) % v;
}

TEST(MaskedWordLoss, IsThePlainFormula) {
  struct Size {
    std::int64_t n, v;
  };
  for (const auto& [n, v] : {Size{1, 1}, Size{1, 5}, Size{7, 40}, Size{256, 11}, Size{600, 13}}) {
    for (const double alpha : {0.0, 0.4, 1.0}) {
      SCOPED_TRACE(std::to_string(n) + " words of " + std::to_string(v) + ", alpha " + std::to_string(alpha));
      const at::Tensor student = 3 * draw({1}, {n, v}), teacher = 3 * draw({2}, {n, v}), target = targets(n, v);
      const WordResult expected = plain(student, target, teacher, alpha), got = of(student, target, teacher, alpha);
      EXPECT_LT(difference(got.loss, expected.loss), 1e-10);
      EXPECT_LT(difference(got.student, expected.student), 1e-13);
      if (alpha > 0) continue;
      const WordResult alone = of(student, target, {}, 0);
      EXPECT_EQ(difference(alone.loss, got.loss), 0);
      EXPECT_EQ(difference(alone.student, got.student), 0);
    }
  }
}

TEST(MaskedWordLoss, FiniteDifferences) {
  at::Tensor student = draw({1}, {3, 5});
  const at::Tensor teacher = draw({2}, {3, 5}), target = targets(3, 5);
  const WordResult r = of(student, target, teacher, 0.4);
  const double step = 1e-6;
  auto* element = student.data_ptr<double>();
  for (std::int64_t i = 0; i < student.numel(); ++i) {
    const double kept = element[i];
    element[i] = kept + step;
    const double above = masked_word_loss(student, target, teacher, 0.4).item<double>();
    element[i] = kept - step;
    const double below = masked_word_loss(student, target, teacher, 0.4).item<double>();
    element[i] = kept;
    EXPECT_NEAR((above - below) / (2 * step), r.student.flatten()[i].item<double>(), 1e-8);
  }
}

TEST(MaskedWordLoss, NoneChosenIsZeroWithGradient) {
  for (const double alpha : {0.0, 0.4}) {
    const at::Tensor logits = leaf(draw({1}, {4, 6})), none = logits.narrow(0, 0, 0);
    const at::Tensor loss = masked_word_loss(none, targets(0, 6), none.detach(), alpha);
    EXPECT_EQ(loss.item<double>(), 0);
    loss.backward();
    EXPECT_EQ(difference(logits.grad(), at::zeros({4, 6}, at::kDouble)), 0);
  }
}

TEST(MaskedWordLoss, LowerPrecisionIsSummedInSingle) {
  const at::Tensor student = (3 * draw({1}, {60, 700})).to(at::kBFloat16),
                   teacher = (3 * draw({2}, {60, 700})).to(at::kBFloat16), target = targets(60, 700);
  const WordResult exact = plain(student.to(at::kDouble), target, teacher.to(at::kDouble), 0.4),
                   got = of(student, target, teacher, 0.4);
  EXPECT_EQ(got.loss.scalar_type(), at::kFloat);
  EXPECT_EQ(got.student.scalar_type(), at::kBFloat16);
  EXPECT_LT(difference(got.loss, exact.loss) / exact.loss.item<double>(), 1e-6);
  EXPECT_LT(difference(got.student, exact.student), 1.0 / 256);
  const WordResult single = of(student.to(at::kFloat), target, teacher, 0.4);
  EXPECT_LT(difference(single.student, exact.student), 1e-6);
}

TEST(MaskedWordLoss, TeacherIsConstantAndNothingIsRememberedWithoutGradients) {
  const at::Tensor student = draw({1}, {3, 5}), teacher = leaf(draw({2}, {3, 5}));
  EXPECT_FALSE(masked_word_loss(student, targets(3, 5), teacher, 0.4).requires_grad());
  const c10::NoGradGuard no_grad;
  EXPECT_FALSE(masked_word_loss(leaf(student), targets(3, 5), teacher, 0.4).requires_grad());
}

TEST(MaskedWordLoss, MistakesAreSeen) {
  const at::Tensor student = 3 * draw({1}, {7, 9}), teacher = 3 * draw({2}, {7, 9}), target = targets(7, 9);
  const WordResult right = of(student, target, teacher, 0.4);
  const auto differs = [&](const WordResult& wrong) {
    EXPECT_GT(difference(right.loss, wrong.loss), 1e-3);
    EXPECT_GT(difference(right.student, wrong.student), 1e-3);
  };
  differs(plain(student, target, teacher, 0.4, 0));  // softmax over the words, not the vocabulary
  differs(plain(student, target, teacher, 0.6));
  differs(plain(student, target.roll(1), teacher, 0.4));
  differs(plain(student, target, student, 0.4));
}

TEST(MaskedWordLoss, RefusesWhatDoesNotFit) {
  const at::Tensor student = draw({1}, {3, 5}), target = targets(3, 5);
  EXPECT_THROW(masked_word_loss(student, target, {}, 0.4), c10::Error);
  EXPECT_THROW(masked_word_loss(student, target, student.narrow(0, 0, 2), 0.4), c10::Error);
  EXPECT_THROW(masked_word_loss(student, target, student, 1.1), c10::Error);
  EXPECT_THROW(masked_word_loss(student, targets(2, 5), {}, 0), c10::Error);
  EXPECT_THROW(masked_word_loss(student, target.to(at::kInt), {}, 0), c10::Error);
  EXPECT_THROW(masked_word_loss(student[0], target, {}, 0), c10::Error);
}

}  // namespace
}  // namespace triptych
