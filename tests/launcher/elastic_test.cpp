// Numbers of ranks that divide.
#include "distributed/launcher/elastic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/errors.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class Call>
std::string elastic_error(Call&& call) {
  try {
    call();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Elastic, ReadsMinAndMax) {
  EXPECT_EQ(parse_elastic("2:8").min, 2);
  EXPECT_EQ(parse_elastic("2:8").max, 8);
  EXPECT_EQ(parse_elastic("3:3").max, 3);
  for (const char* text :
       {"", ":", "2", "2:", ":8", "8:2", "0:4", "-1:4", "1:2:3", "1 :2", "a:b", "1:99999999999", "+1:2"}) {
    EXPECT_THAT(elastic_error([&] { parse_elastic(text); }), HasSubstr("MIN:MAX")) << text;
  }
}

TEST(Elastic, NumbersThatDivide) {
  EXPECT_THAT(allowed_ranks({1, 8}, {12, {}}), ElementsAre(1, 2, 3, 4, 6));
  EXPECT_THAT(allowed_ranks({1, 8}, {12, 8}), ElementsAre(1, 2, 4));
  EXPECT_THAT(allowed_ranks({1, 2147483647}, {2, {}}), ElementsAre(1, 2));
}

TEST(Elastic, MicroBatchesDivideTheRowsOfARank) {
  EXPECT_THAT(allowed_ranks({1, 8}, {24, {}, 4}), ElementsAre(1, 2, 3, 6, 8));  // 4 ranks: 6 rows, 4 at a time
  EXPECT_THAT(allowed_ranks({1, 8}, {24, {}, 0}), ElementsAre(1, 2, 3, 4, 6, 8));
  EXPECT_THAT(allowed_ranks({1, 8}, {24, 24, 4}), ElementsAre(1, 2, 3, 4, 6, 8)) << "shards are their own size";
  EXPECT_EQ(choose_ranks({1, 8}, {24, {}, 4}, 5), 3);
  EXPECT_THAT(elastic_error([] {
                choose_ranks({4, 4}, {24, {}, 4}, 8);
              }),
              testing::AllOf(HasSubstr("micro-batches of 4"), HasSubstr("1, 2, 3, 6, 8")));
}

TEST(Elastic, TheLargestThatHasSlots) {
  const RankDivisors divisors{12, {}};
  for (const auto& [slots, ranks] :
       std::vector<std::pair<int, int>>{{2, 2}, {3, 3}, {4, 4}, {5, 4}, {6, 6}, {100, 6}}) {
    EXPECT_EQ(choose_ranks({2, 8}, divisors, slots), ranks) << slots;
  }
  EXPECT_EQ(choose_ranks({2, 8}, {12, 8}, 7), 4);
}

TEST(Elastic, ErrorsListWhatIsAllowed) {
  EXPECT_THAT(elastic_error([] {
                choose_ranks({4, 8}, {12, {}}, 3);
              }),
              testing::AllOf(HasSubstr("3 slots"), HasSubstr("4, 6")));
  EXPECT_THAT(elastic_error([] {
                choose_ranks({5, 5}, {12, {}}, 8);
              }),
              testing::AllOf(HasSubstr("12 rows"), HasSubstr("1, 2, 3, 4, 6, 12")));
  EXPECT_THAT(elastic_error([] {
                choose_ranks({6, 8}, {12, 8}, 8);
              }),
              testing::AllOf(HasSubstr("8 virtual shards"), HasSubstr("1, 2, 4")));
  EXPECT_THAT(elastic_error([] { choose_ranks({1, 8}, {0, {}}, 8); }), HasSubstr("at least 1"));
  EXPECT_THAT(elastic_error([] { choose_ranks({1, 8}, {8, 0}, 8); }), HasSubstr("at least 1"));
}

}  // namespace
}  // namespace triptych
