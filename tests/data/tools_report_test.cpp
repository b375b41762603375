// Statistics of corpora: histograms, reports, duplicates, the page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/base/random_key.h"
#include "data/tools/corpus_report.h"
#include "data/tools/html_page.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/small_corpora.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_pictures.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// ---- histograms ----------------------------------------------------------------------------------------------------

TEST(HistogramTest, SmallValuesAreExact) {
  Histogram histogram;
  for (const int value : {3, 1, 4, 1, 5}) histogram.add(value);
  EXPECT_EQ(histogram.count(), 5);
  EXPECT_EQ(histogram.sum(), 14);
  EXPECT_EQ(histogram.mean(), 2.8);
  EXPECT_EQ(histogram.quantile(0), 1);
  EXPECT_EQ(histogram.quantile(0.5), 3);
  EXPECT_EQ(histogram.quantile(1), 5);
  using Bucket = Histogram::Bucket;
  EXPECT_THAT(histogram.buckets(),
              ElementsAre(Bucket{1, 1, 2}, Bucket{2, 2, 0}, Bucket{3, 3, 1}, Bucket{4, 4, 1}, Bucket{5, 5, 1}));
  EXPECT_THAT(histogram.buckets(2), ElementsAre(Bucket{0, 1, 2}, Bucket{2, 3, 1}, Bucket{4, 5, 2}));
  EXPECT_TRUE(Histogram().buckets().empty());
  EXPECT_EQ(Histogram().quantile(0.5), 0);
  EXPECT_THROW(histogram.add(-1), std::invalid_argument);
}

TEST(HistogramTest, QuantilesAreWithinAnEighthAndSumsJoin) {
  RandomStream draws(random_key(7, Purpose::kTest));
  std::vector<std::int64_t> values;
  Histogram all, front, back;
  for (int i = 0; i < 2000; ++i) {
    values.push_back(static_cast<std::int64_t>(std::exp(draws.uniform(0, 30))));
    all.add(values.back());
    (i < 700 ? front : back).add(values.back());
  }
  std::sort(values.begin(), values.end());
  front.add(back);
  EXPECT_EQ(front.buckets(), all.buckets());
  for (const double q : {0.01, 0.25, 0.5, 0.9, 0.999}) {
    const auto exact = values[static_cast<std::size_t>(std::ceil(q * 2000)) - 1];
    EXPECT_GE(all.quantile(q), exact) << q;
    EXPECT_LE(static_cast<double>(all.quantile(q)), 1.125 * static_cast<double>(exact)) << q;
  }
  std::int64_t next = all.buckets().front().low, counted = 0;
  for (const auto& bucket : all.buckets()) {
    EXPECT_EQ(bucket.low, next) << "no gap, no overlap";
    next = bucket.high + 1;
    counted += bucket.count;
    EXPECT_EQ(bucket.count,
              std::count_if(values.begin(), values.end(), [&](auto v) { return v >= bucket.low && v <= bucket.high; }));
  }
  EXPECT_EQ(counted, 2000);
  Histogram largest;
  largest.add(INT64_MAX);
  EXPECT_EQ(largest.quantile(0.5), INT64_MAX);
  EXPECT_EQ(largest.buckets().size(), 1U) << "the last bucket";
}

// ---- reports -------------------------------------------------------------------------------------------------------

class ReportTest : public testing::Test {
 protected:
  CorpusConfig texts(const std::set<int>& broken = {}) {
    return text_corpus(write_small_shards(folder_ / "text", {5, 2}, 0, "record", broken));
  }
  TempDir folder_;
};

TEST_F(ReportTest, CountsEverything) {
  const auto corpus = open_corpus(texts({1, 4}));
  const auto report = report_corpus(*corpus, {});
  EXPECT_EQ(report.records, 7);
  EXPECT_EQ(report.usable, 5);
  EXPECT_EQ(report.width.min(), 8);
  EXPECT_EQ(report.height.max(), 8);
  EXPECT_EQ(report.captions.sum(), 5);
  EXPECT_EQ(report.caption_bytes.mean(), 8);
  EXPECT_EQ(report.caption_words.mean(), 2);
  ASSERT_EQ(report.unusable.size(), 2U);
  EXPECT_EQ(report.unusable[1].place.key, "4");
  EXPECT_EQ(report.unusable[1].record, 4);
  EXPECT_TRUE(report.image_hashes.empty()) << "hashes cost memory and are asked for";
  write_test_file(folder_ / "classes.txt", "cat\ndog\nbird\n");
  const auto labels = open_corpus(label_corpus(write_small_shards(folder_ / "label", {4}, 2), folder_ / "classes.txt"));
  EXPECT_THAT(report_corpus(*labels, {}).label_counts, ElementsAre(2, 2, 0));
}

TEST_F(ReportTest, RangesJoinToTheWholeForAnyNumberOfThreads) {
  const auto corpus = open_corpus(texts({1, 4}));
  const auto whole = report_corpus(*corpus, {.hashes = true});
  std::vector<std::int64_t> seen;
  auto both = report_corpus(*corpus, {.last = 3, .hashes = true, .progress = [&](auto n) { seen.push_back(n); }});
  append(both, report_corpus(*corpus, {.first = 3, .hashes = true, .threads = 4}));
  EXPECT_THAT(seen, ElementsAre(3));
  EXPECT_EQ(both.image_bytes.sum(), whole.image_bytes.sum());
  EXPECT_EQ(both.reasons, whole.reasons);
  EXPECT_EQ(both.unusable.at(1).place.key, "4");
  EXPECT_EQ(both.image_hashes, whole.image_hashes);
  EXPECT_THAT(both.hashed_records, ElementsAre(0, 2, 3, 5, 6));
  EXPECT_THROW(report_corpus(*corpus, {.first = 5, .last = 3}), std::out_of_range);
  EXPECT_THROW(report_corpus(*corpus, {.last = 8}), std::out_of_range);
}

TEST_F(ReportTest, EqualPicturesAreGrouped) {
  const auto a = tiny_png(4, 4, 1), b = tiny_png(4, 4, 2), c = tiny_png(4, 4, 3);
  const auto path = write_records(folder_ / "d.tar", {{"png", a, {"0"}},
                                                      {"png", b, {"1"}},
                                                      {"png", "broken", {"2"}},
                                                      {"png", "broken", {"3"}},
                                                      {"png", b, {"4"}},
                                                      {"png", a, {"5"}},
                                                      {"png", c, {"6"}},
                                                      {"png", a, {"7"}}});
  const auto report = report_corpus(*open_corpus(text_corpus(path)), {.hashes = true});
  const auto found = find_duplicates(report, 10);
  EXPECT_EQ(found.groups, 2);
  EXPECT_EQ(found.records, 3);
  EXPECT_THAT(found.listed, ElementsAre(ElementsAre(0, 5, 7), ElementsAre(1, 4)));
  EXPECT_EQ(find_duplicates(report, 1).listed.size(), 1U);
  EXPECT_EQ(find_duplicates(report, 1).records, 3);
}

TEST(ErrorBudgetTest, TenRecordsOrTheShare) {
  EXPECT_EQ(allowed_bad_records(0.01, 20), 10);
  EXPECT_EQ(allowed_bad_records(0, 1'000'000), 10);
  EXPECT_EQ(allowed_bad_records(0.01, 5000), 50);
}

// ---- the page ------------------------------------------------------------------------------------------------------

/// Walks the tags of a page: every one that is opened is closed in order. Returns the first that is not, or "".
std::string unbalanced_tag(const std::string& page) {
  std::vector<std::string> open;
  for (auto at = page.find('<'); at != std::string::npos; at = page.find('<', at)) {
    bool quoted = false;
    auto end = at + 1;
    for (; end < page.size() && (quoted || page[end] != '>'); ++end) quoted ^= page[end] == '"';
    if (end == page.size()) return "a tag without end";
    const auto tag = page.substr(at + 1, end - at - 1);
    const bool closes = tag.starts_with('/');
    const auto name = tag.substr(closes, tag.find_first_of(" /", 1) - closes);
    at = end;
    if (tag.ends_with('/')) continue;
    if (!closes) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return tag;
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : open.back();
}

TEST_F(ReportTest, PageIsSelfContainedSoundAndEscaped) {
  std::vector<TestRecord> records;
  for (int i = 0; i < 6; ++i) {
    records.push_back(
        {"png", text_of(encode_png(wavy_picture(300 + 10 * i, 100, 4))), {"a <b>caption</b> & \"more\""}});
  }
  records.push_back({"png", "broken", {"x"}});
  const auto text = open_corpus(text_corpus(write_records(folder_ / "t.tar", records), "web <1>"));
  write_test_file(folder_ / "classes.txt", "cat <script>\ndog\n");
  const auto label = open_corpus(label_corpus(write_small_shards(folder_ / "l", {5}, 2), folder_ / "classes.txt"));
  std::vector<CorpusPage> pages;
  for (const auto* corpus : {text.get(), label.get()}) {
    auto report = report_corpus(*corpus, {.hashes = true});
    auto duplicates = find_duplicates(report, 5);
    pages.push_back({corpus->config().name,
                     corpus->config().kind,
                     std::move(report),
                     std::move(duplicates),
                     {},
                     contact_sheet(*corpus, 4, 50, {}, 2)});
    for (const auto& names : corpus->class_names()) pages.back().class_names.push_back(names.front());
  }
  EXPECT_EQ(pages[0].pictures.size(), 4U);
  const auto small = decode_image(pages[0].pictures[1].jpeg, {});
  EXPECT_EQ(small.width, 50);
  EXPECT_EQ(pages[0].pictures[1].width, 310);

  const auto page = html_page(pages);
  EXPECT_EQ(unbalanced_tag(page.substr(page.find("<html"))), "");
  EXPECT_THAT(page, AllOf(HasSubstr("<!DOCTYPE html>"), HasSubstr("prefers-color-scheme: dark"), HasSubstr("<svg "),
                          HasSubstr("web &lt;1&gt;"), HasSubstr("&lt;b&gt;caption&lt;/b&gt; &amp; &quot;more&quot;"),
                          HasSubstr("cat &lt;script&gt;"), HasSubstr("Unusable records")));
  EXPECT_THAT(page, AllOf(Not(HasSubstr("http")), Not(HasSubstr("<script")), Not(HasSubstr("<link")),
                          Not(HasSubstr("@import")), Not(HasSubstr("url("))))
      << "nothing is loaded from anywhere";
  std::size_t pictures = 0;
  for (auto at = page.find("src=\""); at != std::string::npos; at = page.find("src=\"", at + 1), ++pictures) {
    EXPECT_EQ(page.substr(at, 28), "src=\"data:image/jpeg;base64,");
  }
  EXPECT_EQ(pictures, 4U + 4U);
  // The check itself notices a tag that is not closed.
  auto broken = page;
  broken.erase(broken.find("</figure>"), 9);
  EXPECT_NE(unbalanced_tag(broken.substr(broken.find("<html"))), "");
}

}  // namespace
}  // namespace triptych
