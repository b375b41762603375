// The same ten pictures, captions and classes through every format give the same records.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "data/corpus.h"
#include "data/formats/limited_corpus.h"
#include "data/tools/corpus_report.h"
#include "tests/support/format_corpora.h"

namespace triptych {
namespace {

using namespace format_corpora;

class SameRecordsTest : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Corpus> open(const std::string& kind, const std::function<void(CorpusConfig&)>& change = {}) {
    auto config = write_corpus(GetParam(), kind, dir_);
    if (change) change(config);
    return open_corpus(config);
  }
  TempDir dir_;
};

TEST_P(SameRecordsTest, Captions) {
  const auto corpus = open("image_text");
  ASSERT_EQ(corpus->size(), kRecords);
  EXPECT_TRUE(corpus->class_names().empty());
  const auto all = samples();
  for (int i = kRecords - 1; i >= 0; --i) {  // in any order
    const auto& sample = all[static_cast<std::size_t>(i)];
    const auto record = corpus->read(i);
    EXPECT_EQ(std::string(record.image.begin(), record.image.end()), sample.picture);
    const auto captions = GetParam().one_caption ? std::vector{sample.captions[0]} : sample.captions;
    EXPECT_EQ(record.captions, captions);
    EXPECT_EQ(record.label, -1);
    EXPECT_EQ(record.place.shard, corpus->place(i).shard);
    EXPECT_EQ(record.place.key, corpus->place(i).key);
  }
  EXPECT_THROW(corpus->read(kRecords), std::out_of_range);
  EXPECT_THROW(corpus->read(-1), std::out_of_range);
}

TEST_P(SameRecordsTest, Labels) {
  const auto corpus = open("image_label");
  ASSERT_EQ(corpus->size(), kRecords);
  ASSERT_EQ(corpus->class_names().size(), 3U);
  std::map<std::string, std::string> class_of;  // a picture's class, whatever the order of the records
  for (int i = 0; i < kRecords; ++i) {
    const auto record = corpus->read(i);
    EXPECT_TRUE(record.captions.empty());
    class_of[std::string(record.image.begin(), record.image.end())] =
        corpus->class_names().at(static_cast<std::size_t>(record.label)).at(0);
  }
  for (const auto& sample : samples())
    EXPECT_EQ(class_of[sample.picture], kClasses[static_cast<std::size_t>(sample.label)]);
}

TEST_P(SameRecordsTest, OpenedAgainItIsTheSame) {
  const auto first = open("image_text")->fingerprint();
  EXPECT_EQ(open("image_text")->fingerprint(), first);
  EXPECT_NE(open("image_label")->fingerprint(), first);
}

TEST_P(SameRecordsTest, ReportsSeeEveryRecord) {
  const auto report = report_corpus(*open("image_text"), {.threads = 3});
  EXPECT_EQ(report.usable, kRecords);
  EXPECT_EQ(report.width.min(), 8);
  EXPECT_EQ(report.width.max(), 17);
  EXPECT_EQ(report.captions.sum(), GetParam().one_caption ? 10 : 20);
  const auto labels = report_corpus(*open("image_label"), {});
  EXPECT_THAT(labels.label_counts, testing::ElementsAre(4, 3, 3));
}

TEST_P(SameRecordsTest, APartIsEvenlySpread) {
  const auto picture = [](const Corpus& corpus, std::int64_t i) { return corpus.read(i).image; };
  const auto whole = open("image_text");
  const auto expect = [&](double limit, const std::vector<std::int64_t>& chosen) {
    const auto part = open("image_text", [&](CorpusConfig& config) { config.max_records = limit; });
    ASSERT_EQ(part->size(), static_cast<std::int64_t>(chosen.size())) << limit;
    std::int64_t next = 0;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      EXPECT_EQ(picture(*part, static_cast<std::int64_t>(i)), picture(*whole, chosen[i])) << limit;
      EXPECT_EQ(part->place(static_cast<std::int64_t>(i)).key, whole->place(chosen[i]).key);
    }
    for (const auto& span : part->shards()) {
      EXPECT_EQ(span.first, next);
      next += span.count;
    }
    EXPECT_EQ(next, part->size());
    EXPECT_EQ(part->fingerprint() == whole->fingerprint(), part->size() == whole->size());
    EXPECT_THROW(part->read(part->size()), std::out_of_range);
  };
  expect(4, {0, 2, 5, 7});
  expect(0.5, {0, 2, 4, 6, 8});
  expect(0.01, {0});
  expect(0.39, {0, 3, 6});
  expect(1, {0});
  expect(10, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  expect(1000, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST(LimitedSizeTest, SharesAreTakenAsTheyAreWritten) {
  for (int percent = 1; percent < 100; ++percent) EXPECT_EQ(limited_size(percent / 100.0, 100), percent);
  EXPECT_EQ(limited_size(0.29, 1'000'000'000), 290'000'000);
  EXPECT_EQ(limited_size(0.299, 100), 29);
  EXPECT_EQ(limited_size(0.001, 100), 1);
  EXPECT_EQ(limited_size(1, 100), 1);
  EXPECT_EQ(limited_size(0, 100), 100);
  EXPECT_EQ(limited_size(101, 100), 100);
  EXPECT_EQ(limited_size(0.5, 0), 0);
}

INSTANTIATE_TEST_SUITE_P(Formats, SameRecordsTest, testing::ValuesIn(cases()),
                         [](const auto& which) { return which.param.name; });

}  // namespace
}  // namespace triptych
