// The same ten pictures, captions and classes through every format give the same records.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "data/corpus.h"
#include "data/tools/corpus_report.h"
#include "tests/support/base64.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/tar_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_png.h"
#include "tests/support/zip_writer.h"

namespace triptych {
namespace {

constexpr int kRecords = 10;
const std::vector<std::string> kClasses = {"ant", "brown bear", "na\xC3\xAFve cat"};

/// What every corpus below is made of. Captions hold what breaks careless writers: commas, quotes, two bytes a letter.
struct Sample {
  std::string name, picture;
  std::vector<std::string> captions;
  int label;
};
std::vector<Sample> samples() {
  std::vector<Sample> all;
  for (int i = 0; i < kRecords; ++i) {
    const auto n = std::to_string(i);
    all.push_back({"p" + n,
                   tiny_png(8 + i, 6, 7 * i),
                   {"caption " + n + ", \"quoted\" caf\xC3\xA9", "another one of " + n},
                   i % 3});
  }
  return all;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

/// Writes a corpus into the folder; kind image_text or image_label.
using Writer = std::function<void(const TempDir&, CorpusConfig&)>;

bool has_captions(const CorpusConfig& config) {
  return config.kind == "image_text";
}

void write_pictures(const TempDir& dir) {
  for (const auto& s : samples()) write_test_file(dir / ("pictures/" + s.name + ".png"), s.picture);
}

std::string tar_of(const CorpusConfig& config) {
  TarWriter tar;
  for (const auto& s : samples()) {
    tar.file(s.name + ".png", s.picture);
    if (has_captions(config)) tar.file(s.name + ".json", nlohmann::json({{"texts", s.captions}}).dump());
    if (!has_captions(config)) tar.file(s.name + ".cls", std::to_string(s.label));
  }
  return tar.end().bytes();
}

void write_tar(const TempDir& dir, CorpusConfig& config) {
  write_test_file(dir / "a.tar", tar_of(config));
  config.path = (dir / "a.tar").string();
  if (has_captions(config)) config.caption_keys = {"texts"};
}

void write_tar_gz(const TempDir& dir, CorpusConfig& config) {
  write_tar(dir, config);
  config.path = (dir / "b.tar.gz").string();
  const auto tar = tar_of(config);
  auto* file = gzopen(config.path.c_str(), "wb");
  gzwrite(file, tar.data(), static_cast<unsigned>(tar.size()));
  gzclose(file);
}

void write_tar_zst(const TempDir& dir, CorpusConfig& config) {
  write_tar(dir, config);
  config.path = (dir / "c.tar.zst").string();
  const auto tar = tar_of(config);
  std::string packed(ZSTD_compressBound(tar.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), tar.data(), tar.size(), 3));
  write_test_file(config.path, packed);
}

void write_unicl(const TempDir& dir, CorpusConfig& config) {
  std::string texts, images;
  for (const auto& s : samples()) {
    const auto json =
        has_captions(config)
            ? nlohmann::json({{"captions", s.captions}, {"source", "made"}})
            : nlohmann::json({{"class_name", kClasses[static_cast<std::size_t>(s.label)]}, {"class", "n01"}});
    texts += s.name + "\t" + json.dump() + "\n";
    images += s.name + "\t" + to_base64(s.picture) + "\n";
  }
  write_test_file(dir / "text.tsv", texts);
  write_test_file(dir / "image.tsv", images);
  config.path = (dir / "text.tsv").string();
  config.images = (dir / "image.tsv").string();
}

void write_csv(const TempDir& dir, CorpusConfig& config) {
  write_pictures(dir);
  std::string table = "\xEF\xBB\xBF\"file\",kind of,one,two\r\n";
  for (const auto& s : samples()) {
    table += "pictures/" + s.name + ".png," + kClasses[static_cast<std::size_t>(s.label)] + "," +
             quoted(s.captions[0]) + "," + s.captions[1] + "\r\n";
  }
  write_test_file(dir / "table.csv", table);
  config.path = (dir / "table.csv").string();
  config.image_key = "file";
  if (has_captions(config)) config.caption_keys = {"one", "two"};
  if (!has_captions(config)) config.label_key = "kind of";
}

nlohmann::json json_of(const Sample& s) {
  return {{"image", "pictures/" + s.name + ".png"}, {"caption", s.captions}, {"label", s.label}};
}

void write_json_array(const TempDir& dir, CorpusConfig& config) {
  write_pictures(dir);
  auto array = nlohmann::json::array();
  for (const auto& s : samples()) array.push_back(json_of(s));
  write_test_file(dir / "list.json", array.dump(2));
  config.path = (dir / "list.json").string();
}

void write_json_lines(const TempDir& dir, CorpusConfig& config) {
  write_pictures(dir);
  std::string lines;
  for (const auto& s : samples()) lines += json_of(s).dump() + "\n\n";
  write_test_file(dir / "list.jsonl", lines);
  config.path = (dir / "list.jsonl").string();
}

/// One caption or class a picture is all that these can hold.
void write_folder(const TempDir& dir, CorpusConfig& config) {
  for (const auto& s : samples()) {
    const auto folder = has_captions(config) ? "" : kClasses[static_cast<std::size_t>(s.label)] + "/";
    write_test_file(dir / (config.kind + "/" + folder + s.name + ".png"), s.picture);
    write_test_file(dir / (config.kind + "/" + folder + s.name + ".first"), s.captions[0]);
    write_test_file(dir / (config.kind + "/" + folder + s.name + ".second"), s.captions[1]);
  }
  config.path = (dir / config.kind).string();
  if (has_captions(config)) config.caption_keys = {"first", "second"};
  config.class_names.clear();
}

void write_zip(const TempDir& dir, CorpusConfig& config) {
  ZipWriter zip;
  std::string map;
  for (const auto& s : samples()) {
    zip.file("train/" + s.name + ".png", s.picture, {.deflate = s.label == 1});
    map += "train/" + s.name + ".png\t" + (has_captions(config) ? s.captions[0] : std::to_string(s.label)) + "\n";
  }
  write_test_file(dir / "train.zip", zip.bytes());
  write_test_file(dir / "train_map.txt", map);
  config.path = (dir / "train.zip").string();
  config.map = (dir / "train_map.txt").string();
}

struct Case {
  const char* name;
  const char* format;
  Writer write;
  bool one_caption = false;
};

class SameRecordsTest : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<Corpus> open(const std::string& kind, const std::function<void(CorpusConfig&)>& change = {}) {
    CorpusConfig config;
    config.name = "same";
    config.kind = kind;
    config.format = GetParam().format;
    if (kind == "image_label") {
      write_test_file(dir_ / "classes.txt", "ant\nbrown bear\nna\xC3\xAFve cat\n");
      config.class_names = (dir_ / "classes.txt").string();
    }
    GetParam().write(dir_, config);
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
  expect(10, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  expect(1000, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

INSTANTIATE_TEST_SUITE_P(
    Formats, SameRecordsTest,
    testing::Values(Case{"tar", "webdataset", write_tar}, Case{"tar_gz", "webdataset", write_tar_gz},
                    Case{"tar_zst", "webdataset", write_tar_zst}, Case{"unicl_tsv", "unicl_tsv", write_unicl},
                    Case{"csv", "csv", write_csv}, Case{"json_array", "json", write_json_array},
                    Case{"json_lines", "json", write_json_lines}, Case{"image_folder", "image_folder", write_folder},
                    Case{"zip_map", "zip_map", write_zip, true}),
    [](const auto& which) { return which.param.name; });

}  // namespace
}  // namespace triptych
