// Packed corpora read back equal, whatever the threads and interruptions; pictures are shrunk as they should be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/image/augment.h"
#include "data/tools/pack.h"
#include "data/tools/tar_file.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/small_corpora.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_pictures.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

std::map<std::string, std::uint64_t> hashes_of(const fs::path& folder) {
  std::map<std::string, std::uint64_t> hashes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    hashes[entry.path().filename().string()] = xxh64_of_file(entry.path());
  }
  return hashes;
}

std::string refusal(const Corpus& corpus, const PackRequest& request) {
  try {
    pack_corpus(corpus, request);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

class PackTest : public testing::Test {
 protected:
  PackRequest to(const std::string& name, std::int64_t shard_records = 3, int threads = 1) {
    return {.folder = folder_ / name, .shard_records = shard_records, .threads = threads};
  }
  std::unique_ptr<Corpus> packed(const std::string& name, bool labels = false) {
    const auto path = folder_ / name / "shard-*.tar";
    return open_corpus(labels ? label_corpus(path, folder_ / name / "classes.txt") : text_corpus(path));
  }
  TempDir folder_;
};

TEST_F(PackTest, CaptionsAndPicturesReadBackEqual) {
  auto config = text_corpus(write_small_shards(folder_ / "s", {4, 3}, 0,
                                               "r\xC3\xA9"
                                               "cord \\\"quoted\\\"",
                                               {}));
  config.caption_keys = {"more"};
  const auto source = open_corpus(config);
  const auto report = pack_corpus(*source, to("out"));
  EXPECT_EQ(report.records, 7);
  EXPECT_EQ(report.written, 7);
  EXPECT_EQ(report.shards, 3);
  EXPECT_EQ(report.unusable, 0);
  const auto corpus = packed("out");
  ASSERT_EQ(corpus->size(), 7);
  for (std::int64_t i = 0; i < 7; ++i) {
    const auto before = source->read(i), after = corpus->read(i);
    EXPECT_EQ(before.image, after.image) << i;
    EXPECT_EQ(before.captions, after.captions) << i;
    EXPECT_EQ(after.captions.size(), 3U);
  }
  EXPECT_TRUE(fs::exists(folder_ / "out" / "shard-000002.tar.tidx"));
  EXPECT_FALSE(fs::exists(folder_ / "out" / "classes.txt"));
}

TEST_F(PackTest, LabelsAndClassNamesReadBackEqual) {
  write_test_file(folder_ / "classes.txt", "cat|kitty\ngolden retriever\n");
  const auto source = open_corpus(label_corpus(write_small_shards(folder_ / "s", {5}, 2), folder_ / "classes.txt"));
  pack_corpus(*source, to("out"));
  const auto corpus = packed("out", true);
  EXPECT_EQ(corpus->class_names(), source->class_names());
  for (std::int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(corpus->read(i).label, source->read(i).label);
    EXPECT_EQ(corpus->read(i).image, source->read(i).image);
  }
}

TEST_F(PackTest, AnImageFolderBecomesShards) {
  write_test_file(folder_ / "f" / "big_cat" / "a.png", tiny_png(4, 4, 1));
  write_test_file(folder_ / "f" / "dog" / "x" / "b.png", tiny_png(4, 4, 9));
  const auto source = open_corpus(folder_corpus(folder_ / "f", "image_label"));
  pack_corpus(*source, to("out"));
  const auto corpus = packed("out", true);
  EXPECT_THAT(corpus->class_names(), ElementsAre(ElementsAre("big cat"), ElementsAre("dog")));
  EXPECT_EQ(corpus->read(1).label, 1);
  // A '|' in the name of a folder would become two names.
  write_test_file(folder_ / "g" / "a|b" / "a.png", tiny_png(4, 4, 1));
  EXPECT_THAT(refusal(*open_corpus(folder_corpus(folder_ / "g", "image_label")), to("g-out")),
              testing::AllOf(HasSubstr("a|b"), HasSubstr("class_names")));
}

TEST_F(PackTest, UnusableRecordsAreLeftOutAndCounted) {
  const auto source = open_corpus(text_corpus(write_small_shards(folder_ / "s", {8}, 0, "r", {0, 1, 2, 4})));
  const auto report = pack_corpus(*source, to("out"));
  EXPECT_EQ(report.unusable, 4);
  EXPECT_EQ(report.written, 4);
  EXPECT_EQ(report.shards, 2) << "the first would hold nothing";
  EXPECT_EQ(report.reasons.size(), 1U);
  EXPECT_THAT(report.reasons.begin()->first, HasSubstr("neither JPEG, PNG nor WebP"));
  const auto corpus = packed("out");
  EXPECT_EQ(corpus->place(0).key, "000000003") << "the key is the record's number in the source";
  EXPECT_EQ(corpus->read(0).captions.front(), "r 3");
}

TEST_F(PackTest, BytesDoNotDependOnThreadsOrInterruptions) {
  std::vector<TestRecord> records;
  for (int i = 0; i < 20; ++i) {
    records.push_back({"png", text_of(encode_png(wavy_picture(60 + i, 40, 5))), {"picture " + std::to_string(i)}});
  }
  const auto source = open_corpus(text_corpus(write_records(folder_ / "s.tar", records)));
  auto one = to("one", 6, 1), three = to("three", 6, 3), again = to("again", 6, 2);
  one.short_side = three.short_side = again.short_side = 24;
  pack_corpus(*source, one);
  pack_corpus(*source, three);
  // Killed in the second shard: the first is there, the second is half a file.
  again.progress = [](std::int64_t done) {
    if (done > 6) throw std::runtime_error("killed");
  };
  EXPECT_THROW(pack_corpus(*source, again), std::runtime_error);
  EXPECT_TRUE(fs::exists(folder_ / "again" / "shard-000000.tar"));
  EXPECT_TRUE(fs::exists(folder_ / "again" / "shard-000001.tar.tmp"));
  EXPECT_FALSE(fs::exists(folder_ / "again" / "shard-000001.tar"));
  const auto kept = fs::last_write_time(folder_ / "again" / "shard-000000.tar");
  again.progress = {};
  const auto report = pack_corpus(*source, again);
  EXPECT_EQ(report.shards_found, 1);
  EXPECT_EQ(report.shards, 4);
  EXPECT_EQ(report.written, 20);
  EXPECT_EQ(fs::last_write_time(folder_ / "again" / "shard-000000.tar"), kept) << "a finished shard is not redone";
  EXPECT_EQ(hashes_of(folder_ / "one"), hashes_of(folder_ / "three"));
  EXPECT_EQ(hashes_of(folder_ / "one"), hashes_of(folder_ / "again"));
}

TEST_F(PackTest, PicturesAreShrunkAsEvaluationWouldAndSmallOnesCopied) {
  const auto big = wavy_picture(90, 60, 1), small = wavy_picture(40, 30, 2);
  const auto source = open_corpus(text_corpus(write_records(
      folder_ / "s.tar", {{"png", text_of(encode_png(big)), {"a"}}, {"png", text_of(encode_png(small)), {"b"}}})));
  auto request = to("out");
  request.short_side = 31;
  request.quality = 100;
  EXPECT_EQ(pack_corpus(*source, request).resized, 1);
  const auto corpus = packed("out");
  const auto image = decode_image(corpus->read(0).image, {});
  EXPECT_EQ(image.height, 31);
  EXPECT_EQ(image.width, 46);  // floor(31 * 90 / 60)
  EXPECT_EQ(corpus->read(1).image, source->read(1).image);
  // The pixels are those of the resize itself, up to what JPEG 4:2:0 loses on a smooth picture.
  std::vector<std::uint8_t> expected(46 * 31 * 3);
  resize_bicubic(big, {0, 0, 90, 60}, {46, 31}, {0, 0, 46, 31}, false, expected);
  double error = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) error += std::abs(expected[i] - image.rgb[i]);
  EXPECT_LT(error / static_cast<double>(expected.size()), 1.5);
  // A lower quality is smaller, and another pack.
  request.quality = 30;
  EXPECT_THAT(refusal(*source, request), testing::AllOf(HasSubstr("quality"), HasSubstr("name another folder")));
  request.folder = folder_ / "worse";
  pack_corpus(*source, request);
  EXPECT_LT(packed("worse")->read(0).image.size(), corpus->read(0).image.size());
}

TEST_F(PackTest, AFolderOfSomethingElseIsRefused) {
  const auto source = open_corpus(text_corpus(write_small_shards(folder_ / "s", {3})));
  const auto other = open_corpus(text_corpus(write_small_shards(folder_ / "o", {3}, 0, "other")));
  write_test_file(folder_ / "full" / "notes.txt", "mine");
  EXPECT_THAT(refusal(*source, to("full")), HasSubstr("not empty"));
  EXPECT_FALSE(fs::exists(folder_ / "full" / "pack.json"));
  pack_corpus(*source, to("out"));
  EXPECT_EQ(refusal(*source, to("out")), "no error") << "nothing is left to do";
  EXPECT_THAT(refusal(*other, to("out")), HasSubstr("fingerprint"));
  EXPECT_THAT(refusal(*source, to("out", 2)), HasSubstr("shard_size"));
  write_test_file(folder_ / "out" / "pack.json", "{broken");
  EXPECT_THAT(refusal(*source, to("out")), HasSubstr("another pack"));
}

TEST_F(PackTest, TarFilesAreWhatOtherProgramsRead) {
  {
    TarFile tar(folder_ / "t.tar");
    const std::string bytes(700, 'x');
    tar.add("a.txt", {reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()});
    tar.add("b.txt", {});
    EXPECT_THROW(tar.add(std::string(101, 'n'), {}), std::invalid_argument);
    tar.finish();
  }
  EXPECT_EQ(fs::file_size(folder_ / "t.tar"), 512U + 1024 + 512 + 1024);
  const auto command = "tar -tvf " + (folder_ / "t.tar").string() + " > " + (folder_ / "list").string();
  ASSERT_EQ(std::system(command.c_str()), 0);
  std::ifstream file(folder_ / "list");
  std::stringstream list;
  list << file.rdbuf();
  EXPECT_THAT(list.str(),
              testing::AllOf(HasSubstr("-rw-r--r--"), HasSubstr("700"), HasSubstr("a.txt"), HasSubstr("b.txt")));
}

TEST(EncodeTest, PngKeepsEveryPixelAndJpegIsNear) {
  const auto picture = wavy_picture(33, 21, 3);
  const auto png = decode_image(encode_png(picture), {});
  EXPECT_EQ(png.width, 33);
  EXPECT_EQ(png.rgb, picture.rgb);
  const auto jpeg = decode_image(encode_jpeg(picture, 95), {});
  ASSERT_EQ(jpeg.rgb.size(), picture.rgb.size());
  double error = 0;
  for (std::size_t i = 0; i < jpeg.rgb.size(); ++i) error += std::abs(jpeg.rgb[i] - picture.rgb[i]);
  EXPECT_LT(error / static_cast<double>(jpeg.rgb.size()), 2);
  EXPECT_EQ(encode_jpeg(picture, 95), encode_jpeg(picture, 95));
  EXPECT_THROW(encode_jpeg(picture, 0), std::invalid_argument);
  EXPECT_THROW(encode_jpeg(picture, 101), std::invalid_argument);
}

}  // namespace
}  // namespace triptych
