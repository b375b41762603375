// Text helpers.
#include "core/base/strings.h"

#include <gtest/gtest.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "tests/support/property.h"

namespace triptych {
namespace {

TEST(Strings, Join) {
  EXPECT_EQ(join({}, ", "), "");
  EXPECT_EQ(join({"a", "b", "c"}, ", "), "a, b, c");
}

TEST(Strings, NearestFindsTypingErrors) {
  const std::vector<std::string> keys = {"lr", "weight_decay", "betas", "eps", "clip_norm", "name"};
  EXPECT_EQ(nearest("wieght_decay", keys), "weight_decay");
  EXPECT_EQ(nearest("weight-decay", keys), "weight_decay");
  EXPECT_EQ(nearest("WeightDecay", keys), "weight_decay");
  EXPECT_EQ(nearest("beta", keys), "betas");
  EXPECT_EQ(nearest("lr ", keys), "lr");
  EXPECT_EQ(nearest("clipnorm", keys), "clip_norm");
}

TEST(Strings, NearestIsSilentWhereNothingIsNear) {
  const std::vector<std::string> keys = {"lr", "weight_decay", "betas"};
  EXPECT_EQ(nearest("momentum_encoder", keys), std::nullopt);
  EXPECT_EQ(nearest("xy", keys), std::nullopt);  // every letter differs
  EXPECT_EQ(nearest("", keys), std::nullopt);
  EXPECT_EQ(nearest(std::string(5000, 'a'), keys), std::nullopt);
  EXPECT_EQ(nearest("lr", {}), std::nullopt);
}

TEST(Strings, NumberTextIsShortAndExact) {
  EXPECT_EQ(number_text(1e-3), "0.001");
  EXPECT_EQ(number_text(256), "256");
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(1e-8), "1e-08");
  EXPECT_EQ(number_text(1e7), "10000000");
  EXPECT_EQ(number_text(-0.0), "-0");
  EXPECT_EQ(number_text(1e300), "1e+300");
  EXPECT_TRUE(holds("reads back to the same bits", [](std::uint64_t bits) {
    double value = 0;
    std::memcpy(&value, &bits, sizeof value);
    RC_PRE(std::isfinite(value));
    const auto text = number_text(value);
    double back = 0;
    std::from_chars(text.data(), text.data() + text.size(), back);
    std::uint64_t back_bits = 0;
    std::memcpy(&back_bits, &back, sizeof back);
    RC_ASSERT(bits == back_bits);
  }));
}

TEST(Strings, HumanSizes) {
  EXPECT_EQ(human_size(0), "0 B");
  EXPECT_EQ(human_size(1023), "1023 B");
  EXPECT_EQ(human_size(1536), "1.5 KiB");
  EXPECT_EQ(human_size(1024 * 1024 - 1), "1.0 MiB");
  EXPECT_EQ(human_size(std::uint64_t{2} << 30), "2.0 GiB");
  EXPECT_EQ(human_size(UINT64_MAX), "16.0 EiB");
}

TEST(Strings, HumanDurations) {
  EXPECT_EQ(human_duration(0.42), "0.42 s");
  EXPECT_EQ(human_duration(7.5), "7.5 s");
  EXPECT_EQ(human_duration(59.96), "1 min 00 s");
  EXPECT_EQ(human_duration(200), "3 min 20 s");
  EXPECT_EQ(human_duration(7500), "2 h 05 min");
  EXPECT_EQ(human_duration(3 * 86400 + 4 * 3600), "3 d 04 h");
  EXPECT_EQ(human_duration(std::numeric_limits<double>::infinity()), "unknown");
  EXPECT_EQ(human_duration(-1), "unknown");
}

TEST(Strings, HumanCounts) {
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(1000), "1,000");
  EXPECT_EQ(human_count(1234567), "1,234,567");
  EXPECT_EQ(human_count(-123456), "-123,456");
  EXPECT_EQ(human_count(INT64_MIN), "-9,223,372,036,854,775,808");
}

}  // namespace
}  // namespace triptych
