// Index files: they save a walk over the shard, and are never believed when they do not fit it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/formats/index_file.h"
#include "data/formats/record_error.h"
#include "data/formats/shard_index.h"
#include "tests/data/read_outcome.h"
#include "tests/support/corpus_configs.h"
#include "tests/support/tar_writer.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

std::string sound_tar(int records, const std::string& word = "caption") {
  TarWriter tar;
  for (int i = 0; i < records; ++i) {
    const auto key = "dir/r" + std::to_string(i);
    tar.file(key + ".jpg", "picture").file(key + ".txt", word + " " + std::to_string(i));
  }
  return tar.end().bytes();
}

TEST(MemberNameTest, KeyEndsAtTheFirstDotOfTheBaseName) {
  const auto split = [](std::string_view path) {
    const auto name = split_member_name(path);
    return name ? std::string(name->key) + "|" + name->extension : "none";
  };
  EXPECT_EQ(split("a/b.seg.PNG"), "a/b|seg.png");
  EXPECT_EQ(split("v1.0/b.jpg"), "v1.0/b|jpg");
  EXPECT_EQ(split("./b.jpg"), "./b|jpg");
  EXPECT_EQ(split("b"), "none");
  EXPECT_EQ(split("b."), "none");
  EXPECT_EQ(split(".b.jpg"), "none");
  EXPECT_EQ(split("a/.jpg"), "none");
  EXPECT_EQ(split("__key__.json"), "none");
  EXPECT_EQ(split("__b.json"), "__b|json");
  EXPECT_EQ(split(""), "none");
}

TEST(IndexFileTest, IsWrittenOnceAndThenMapped) {
  const TempDir folder;
  const auto path = (folder / "a.tar").string();
  write_test_file(path, sound_tar(3));
  const auto first = open_index(InputFile(path), "");
  EXPECT_TRUE(first.built);
  EXPECT_EQ(first.write_error, "");
  const auto second = open_index(InputFile(path), "");
  EXPECT_FALSE(second.built);
  ASSERT_EQ(second.index.size(), 3);
  EXPECT_EQ(second.index.key(2), "dir/r2");
  EXPECT_EQ(second.index.record(2).offset, 2U * 2048);
  EXPECT_EQ(second.index.members(2).size(), 2U);
  EXPECT_THAT(second.index.extensions(), testing::ElementsAre("jpg", "txt"));
  EXPECT_EQ(first.index.fingerprint(), second.index.fingerprint());
}

/// The head is checked when a file is opened: it is then not used, and the corpus reads as before.
TEST(IndexFileTest, FilesWithADamagedHeadAreBuiltAgain) {
  const TempDir folder;
  const auto path = (folder / "a.tar").string(), sidecar = path + ".tidx";
  write_test_file(path, sound_tar(3));
  const auto fingerprint = open_index(InputFile(path), "").index.fingerprint();
  const auto sound = read_file(sidecar);
  constexpr std::size_t kHead = 64 + 8 + 8;  // header, one block's hash, "jpg\ntxt\n"
  for (std::size_t at = 0; at < kHead; ++at) {
    auto damaged = sound;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x04);
    write_test_file(sidecar, damaged);
    const auto opened = open_index(InputFile(path), "");
    ASSERT_TRUE(opened.built) << at;
    ASSERT_EQ(opened.index.fingerprint(), fingerprint);
  }
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{7}, std::size_t{63}, std::size_t{64}, kHead, sound.size() - 1}) {
    write_test_file(sidecar, std::string_view(sound).substr(0, length));
    EXPECT_TRUE(open_index(InputFile(path), "").built) << length;
  }
  write_test_file(sidecar, sound + "more");
  EXPECT_TRUE(open_index(InputFile(path), "").built);
  EXPECT_FALSE(open_index(InputFile(path), "").built);
}

/// All that an index says of a record, or "damaged".
std::string said_of(const ShardIndex& index, std::int64_t i) {
  try {
    std::string said = std::to_string(index.record(i).offset) + " " + std::string(index.key(i));
    for (const auto& member : index.members(i)) {
      for (const std::uint64_t number : {member.data_offset, std::uint64_t{member.size},
                                         std::uint64_t{member.header_hash}, std::uint64_t{member.damage}}) {
        said += " " + std::to_string(number);
      }
      said += index.extensions().at(member.extension);
    }
    return said;
  } catch (const StorageError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("a.tar.tidx"), testing::HasSubstr("remove it")));
    return "damaged";
  }
}

/// The rest is checked by blocks, when it is looked at: an index never says something wrong.
TEST(IndexFileTest, ADamagedBlockIsNoticedOnceItIsNeeded) {
  const TempDir folder;
  const auto path = (folder / "a.tar").string(), sidecar = path + ".tidx";
  write_test_file(path, sound_tar(2 * ShardIndex::kBlock + 30));
  const InputFile shard(path);
  const auto right = open_index(shard, "");
  const auto sound = read_file(sidecar);
  constexpr std::size_t kHead = 64 + 3 * 8 + 8;
  int noticed = 0, tried = 0;
  for (std::size_t at = kHead; at < sound.size() - 7; at += 331, ++tried) {  // the last 7 may be padding
    auto damaged = sound;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    write_test_file(sidecar, damaged);
    const auto opened = open_index(shard, "");
    ASSERT_FALSE(opened.built);
    ASSERT_EQ(opened.index.fingerprint(), right.index.fingerprint());
    std::set<std::int64_t> bad_blocks;
    for (std::int64_t i = 0; i < opened.index.size(); ++i) {
      const auto said = said_of(opened.index, i);
      if (said == "damaged") {
        bad_blocks.insert(i / ShardIndex::kBlock);
      } else {
        ASSERT_EQ(said, said_of(right.index, i)) << at;
      }
    }
    noticed += !bad_blocks.empty();
    EXPECT_LE(bad_blocks.size(), 2U) << at;  // an entry at a border belongs to two
  }
  EXPECT_GT(tried, 100);
  EXPECT_EQ(noticed, tried);
  write_test_file(sidecar, sound.substr(0, sound.size() - 100) + std::string(100, 'x'));
  const auto corpus = open_corpus(text_corpus(path));
  EXPECT_EQ(corpus->read(1).captions.at(0), "caption 1");
  EXPECT_THROW(corpus->read(corpus->size() - 1), StorageError);
  EXPECT_THROW(corpus->place(corpus->size() - 1), StorageError);
}

TEST(IndexFileTest, MembersBeyondTheShardAreNotBelieved) {
  TarMember member;
  member.name = "a.jpg";
  member.data_offset = 4096;
  member.size = 100;
  EXPECT_EQ(ShardIndex::of_members(std::span(&member, 1), 8192, 0).members(0).size(), 1U);
  EXPECT_THROW(ShardIndex::of_members(std::span(&member, 1), 4150, 0).members(0), StorageError);
}

/// Counts that would overflow when multiplied are refused before anything is read by them.
TEST(IndexFileTest, HostileCountsAreRefused) {
  const TempDir folder;
  const auto path = (folder / "a.tar").string();
  write_test_file(path, sound_tar(3));
  const auto opened = open_index(InputFile(path), "");
  const std::vector<unsigned char> bytes(opened.index.bytes().begin(), opened.index.bytes().end());
  const auto hash = shard_content_hash(InputFile(path));
  const auto size = opened.index.shard_size();
  ASSERT_TRUE(ShardIndex::view(bytes, nullptr, "x", size, hash));
  for (const std::size_t field : {12U, 32U, 40U, 48U}) {  // extension bytes, records, members, key bytes
    for (const unsigned char value : {0x01, 0x7F, 0x80, 0xFF}) {
      auto hostile = bytes;
      for (std::size_t i = 0; i < (field == 12 ? 4U : 8U); ++i) hostile[field + i] = value;
      EXPECT_FALSE(ShardIndex::view(hostile, nullptr, "x", size, hash)) << field;
    }
  }
}

TEST(IndexFileTest, AChangedShardIsIndexedAgain) {
  const TempDir folder;
  const auto path = folder / "a.tar";
  write_test_file(path, sound_tar(3));
  const auto before = open_corpus(text_corpus(path))->fingerprint();
  write_test_file(path, sound_tar(4));
  const auto longer = open_corpus(text_corpus(path));
  EXPECT_EQ(longer->size(), 4);
  EXPECT_NE(longer->fingerprint(), before);
  write_test_file(path, sound_tar(4, "CAPTION"));  // as long, other bytes
  EXPECT_EQ(open_corpus(text_corpus(path))->read(3).captions.at(0), "CAPTION 3");
}

TEST(IndexFileTest, FingerprintKnowsNamesNotPlacesOrTimes) {
  const TempDir one, two;
  write_test_file(one / "a.tar", sound_tar(3));
  write_test_file(two / "a.tar", sound_tar(3));
  write_test_file(two / "b.tar", sound_tar(3));
  EXPECT_EQ(open_corpus(text_corpus(one / "a.tar"))->fingerprint(),
            open_corpus(text_corpus(two / "a.tar"))->fingerprint());
  EXPECT_NE(open_corpus(text_corpus(one / "a.tar"))->fingerprint(),
            open_corpus(text_corpus(two / "b.tar"))->fingerprint());
}

TEST(IndexFileTest, IndexDirKeepsShardsOfOneNameApart) {
  const TempDir folder;
  write_test_file(folder / "x/a.tar", sound_tar(1));
  write_test_file(folder / "y/a.tar", sound_tar(2));
  const auto index_dir = (folder / "made/index").string();
  for (const auto* part : {"x", "y"}) {
    auto config = text_corpus(folder / (std::string(part) + "/a.tar"));
    config.index_dir = index_dir;
    open_corpus(config);
    EXPECT_FALSE(open_index(InputFile(config.path), index_dir).built);
    EXPECT_FALSE(std::filesystem::exists(config.path + ".tidx"));
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(index_dir), {}), 2);
}

/// A folder that cannot be written, for root too: its place is taken by a file.
TEST(IndexFileTest, AnIndexThatCannotBeWrittenStaysInMemory) {
  const TempDir folder;
  const auto path = folder / "a.tar";
  write_test_file(path, sound_tar(3));
  std::filesystem::create_directory(path.string() + ".tidx");
  const auto opened = open_index(InputFile(path.string()), "");
  EXPECT_TRUE(opened.built);
  EXPECT_THAT(opened.write_error, testing::HasSubstr("a.tar.tidx"));
  EXPECT_EQ(open_corpus(text_corpus(path))->read(1).captions.at(0), "caption 1");

  auto config = text_corpus(path);
  config.index_dir = (folder / "taken").string();
  write_test_file(config.index_dir, "a file");
  try {
    open_corpus(config);
    FAIL() << "index_dir that cannot be written was accepted";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("corpus texts: index_dir: "));
  }
}

// ---- shards that change while they are read ------------------------------------------------------------------------

TEST(ChangedShardTest, ACutShardIsNoticedAndKillsNobody) {
  const TempDir folder;
  write_test_file(folder / "a.tar", sound_tar(3));
  const auto corpus = open_corpus(text_corpus(folder / "a.tar"));
  EXPECT_EQ(reason_of(*corpus, 2), "");
  std::filesystem::resize_file(folder / "a.tar", 2 * 2048);
  EXPECT_EQ(reason_of(*corpus, 0), "");  // still there
  EXPECT_THAT(reason_of(*corpus, 2), testing::HasSubstr("has become shorter"));
}

TEST(ChangedShardTest, AReplacedShardIsNoticed) {
  const TempDir folder;
  write_test_file(folder / "a.tar", sound_tar(3));
  const auto corpus = open_corpus(text_corpus(folder / "a.tar"));
  TarWriter other;
  for (int i = 0; i < 3; ++i)
    other.file("x" + std::to_string(i) + ".txt", "other").file("x" + std::to_string(i) + ".jpg", "p");
  write_test_file(folder / "a.tar", other.end().bytes());  // as long as before
  EXPECT_THAT(reason_of(*corpus, 0), testing::HasSubstr("another tar header stands here"));
  write_test_file(folder / "a.tar", sound_tar(5));
  EXPECT_EQ(reason_of(*corpus, 0), "");  // it is open, and its first headers are the same
}

TEST(ChangedShardTest, AMissingShardIsABadRecordOnceItIsNeeded) {
  const TempDir folder;
  write_test_file(folder / "a.tar", sound_tar(3));
  const auto corpus = open_corpus(text_corpus(folder / "a.tar"));
  std::filesystem::remove(folder / "a.tar");
  EXPECT_THAT(reason_of(*corpus, 0), testing::HasSubstr("cannot open"));
}

}  // namespace
}  // namespace triptych
