// The sidecar of phrases: round trips, interruptions, damage.
#include "data/text/phrase_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::HasSubstr;
constexpr auto kBlock = PhraseWriter::kBlockRecords;

std::string caption_of(std::int64_t record, int caption) {
  return "é caption " + std::to_string(caption) + " of record " + std::to_string(record);
}

/// Records with 0 to 3 captions of 0 to 3 phrases.
RecordPhrases record_of(std::int64_t record) {
  RecordPhrases phrases;
  for (int caption = 0; caption < record % 4; ++caption) {
    std::vector<ByteSpan> spans;
    for (std::uint32_t i = 0; i < (record + caption) % 4; ++i) spans.push_back({3 + 2 * i, 4 + 2 * i});
    phrases.push_back(phrases_of_caption(caption_of(record, caption), std::move(spans)));
  }
  return phrases;
}

std::vector<RecordPhrases> block_at(std::int64_t first, std::int64_t records) {
  std::vector<RecordPhrases> block;
  for (auto i = first; i < std::min(first + kBlock, records); ++i) block.push_back(record_of(i));
  return block;
}

/// Up to `blocks` blocks; finishes when all records are there.
void write(const std::filesystem::path& path, const PhraseSource& source, std::int64_t blocks = 1000) {
  PhraseWriter writer(path, source);
  for (; blocks > 0 && writer.next_record() < source.records; --blocks)
    writer.append(block_at(writer.next_record(), source.records));
  if (writer.next_record() == source.records) writer.finish();
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void put_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

template <class Error>
std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(PhraseFile, HoldsWhatWasWritten) {
  const TempDir dir;
  for (const std::int64_t records : {0, 1, 63, 64, 65, 300}) {
    const auto path = dir / std::to_string(records);
    const PhraseSource source{11, 22, records};
    write(path, source);
    EXPECT_FALSE(std::filesystem::exists(path.string() + ".part"));
    const PhraseFile file(path.string());
    EXPECT_EQ(file.source(), source);
    for (auto record = records - 1; record >= 0; --record) {
      const auto expected = record_of(record), found = file.read(record);
      ASSERT_EQ(found.size(), expected.size());
      for (std::size_t c = 0; c < found.size(); ++c) {
        EXPECT_EQ(found[c].spans, expected[c].spans);
        EXPECT_EQ(file.spans(record, c, caption_of(record, static_cast<int>(c))), expected[c].spans);
      }
    }
    EXPECT_THROW(file.read(records), std::out_of_range);
    EXPECT_THROW(file.read(-1), std::out_of_range);
  }
}

TEST(PhraseFile, BelongsToOneCorpusAndItsCaptions) {
  const TempDir dir;
  write(dir / "p", {11, 22, 70});
  const PhraseFile file((dir / "p").string());
  file.check_corpus(11, 70);
  EXPECT_THAT(error_of<ConfigError>([&] { file.check_corpus(12, 70); }), HasSubstr("another corpus"));
  EXPECT_THAT(error_of<ConfigError>([&] { file.check_corpus(11, 71); }), HasSubstr("71 records"));
  EXPECT_THAT(error_of<DataError>([&] { file.spans(7, 0, "another caption"); }), HasSubstr("record 7, caption 0"));
  EXPECT_THAT(error_of<DataError>([&] { file.spans(7, 0, caption_of(7, 1)); }), HasSubstr("not of the caption"));
  EXPECT_TRUE(file.spans(8, 0, "any caption").empty()) << "record 8 has no captions here: no phrases";
  EXPECT_THAT(error_of<DataError>([&] { file.spans(7, 3, caption_of(7, 3)); }), HasSubstr("caption 3"));
}

TEST(PhraseFile, SpansOutsideTheCaptionAreRefused) {
  const std::string caption = "é cat";
  EXPECT_EQ(phrases_of_caption(caption, {{0, 2}, {3, 6}}).spans.size(), 2u);
  for (const ByteSpan wrong : {ByteSpan{0, 7}, {3, 3}, {4, 3}, {1, 6}, {0, 1}, {6, 7}, {0, 0xffffffff}})
    EXPECT_THAT(error_of<DataError>([&] { phrases_of_caption(caption, {wrong}); }),
                HasSubstr("[" + std::to_string(wrong.begin) + ", " + std::to_string(wrong.end) + "]"));
  EXPECT_THROW(phrases_of_caption("", {{0, 1}}), DataError);
  EXPECT_TRUE(phrases_of_caption("", {}).spans.empty());
}

TEST(PhraseFile, AnInterruptedWriterGoesOn) {
  const TempDir dir;
  const PhraseSource source{11, 22, 300};
  write(dir / "whole", source);
  const auto whole = bytes_of(dir / "whole");
  const auto part = (dir / "p").string() + ".part";
  write(dir / "p", source, 3);
  EXPECT_FALSE(std::filesystem::exists(dir / "p"));
  const auto three_blocks = bytes_of(part);
  for (const std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{40}, std::size_t{700}}) {
    put_bytes(part, three_blocks.substr(0, three_blocks.size() - cut));  // killed in the middle of a block
    EXPECT_EQ(PhraseWriter(dir / "p", source).next_record(), cut == 0 ? 3 * kBlock : 2 * kBlock);
    write(dir / "p", source);
    EXPECT_EQ(bytes_of(dir / "p"), whole);
  }
  put_bytes(part, three_blocks + "torn block");
  EXPECT_EQ(PhraseWriter(dir / "p", source).next_record(), 3 * kBlock);
  put_bytes(part, whole);  // killed between table and rename
  EXPECT_EQ(PhraseWriter(dir / "p", source).next_record(), 300);
  write(dir / "p", source);
  EXPECT_EQ(bytes_of(dir / "p"), whole);
}

using Left = PhraseWriter::Left;
using Others = PhraseWriter::Others;

TEST(PhraseFile, WhatBelongsToAnotherSourceIsRefusedOrReplaced) {
  const TempDir dir;
  const auto part = (dir / "p").string() + ".part";
  for (const PhraseSource other : {PhraseSource{12, 22, 300}, {11, 23, 300}, {11, 22, 301}}) {
    write(dir / "p", {11, 22, 300}, 3);
    const auto bytes = bytes_of(part);
    for (const auto left : {Left::kKeep, Left::kDrop})
      EXPECT_THAT(error_of<ConfigError>([&] { PhraseWriter(dir / "p", other, left); }), HasSubstr("--overwrite"));
    EXPECT_EQ(bytes_of(part), bytes);
    EXPECT_EQ(PhraseWriter(dir / "p", other, Left::kKeep, Others::kReplace).next_record(), 0);
    std::filesystem::remove(part);
  }
  write(dir / "p", {11, 22, 300}, 3);
  EXPECT_EQ(PhraseWriter(dir / "p", {11, 22, 300}, Left::kDrop).next_record(), 0);
  put_bytes(part, "torn header");
  EXPECT_EQ(PhraseWriter(dir / "p", {11, 22, 300}).next_record(), 0);
}

TEST(PhraseFile, AFinishedFileOfAnotherSourceIsRefusedOrReplaced) {
  const TempDir dir;
  write(dir / "p", {11, 22, 70});
  EXPECT_EQ(PhraseWriter(dir / "p", {11, 22, 70}).next_record(), 0) << "the same work again is nobody's loss";
  const auto whole = bytes_of(dir / "p");
  const auto refused = [&](const PhraseSource& source) {
    return error_of<ConfigError>([&] { PhraseWriter(dir / "p", source); });
  };
  for (const PhraseSource other : {PhraseSource{12, 22, 70}, {11, 23, 70}, {11, 22, 71}})
    EXPECT_THAT(refused(other), HasSubstr("there already"));
  EXPECT_EQ(bytes_of(dir / "p"), whole);
  for (const auto* const foreign :
       {"", "captions\n", "a text that is longer than the header of a file of phrases is"}) {
    put_bytes(dir / "p", foreign);
    EXPECT_THAT(refused({11, 22, 70}), HasSubstr("--overwrite"));
    EXPECT_EQ(bytes_of(dir / "p"), foreign);
  }
  EXPECT_EQ(PhraseWriter(dir / "p", {12, 22, 70}, Left::kKeep, Others::kReplace).next_record(), 0);
}

TEST(PhraseFile, OneWriterAtATime) {
  const TempDir dir;
  const PhraseWriter first(dir / "p", {11, 22, 300});
  EXPECT_THAT(error_of<ConfigError>([&] {
                PhraseWriter second(dir / "p", {11, 22, 300});
              }),
              HasSubstr("another process"));
  EXPECT_THROW(PhraseWriter(dir / "none" / "p", {11, 22, 300}), StorageError);
}

// Every byte that is changed or missing gives an error or the right phrases, never others.
TEST(PhraseFile, DamageIsFound) {
  const TempDir dir;
  write(dir / "p", {11, 22, 130});
  const auto whole = bytes_of(dir / "p");
  const auto read_all = [&] {
    const PhraseFile file((dir / "p").string());
    std::size_t wrong = 0, errors = 0;
    for (std::int64_t record = 0; record < file.source().records; ++record) {
      try {
        const auto found = file.read(record), expected = record_of(record);
        bool same = found.size() == expected.size();
        for (std::size_t c = 0; same && c < found.size(); ++c) same = found[c].spans == expected[c].spans;
        wrong += same ? 0 : 1;
      } catch (const DataError&) {
        ++errors;
      }
    }
    EXPECT_EQ(wrong, 0u);
    return errors;
  };
  EXPECT_EQ(read_all(), 0u);
  RandomStream draws(random_key(10, Purpose::kTest));
  std::size_t noticed = 0;
  for (int trial = 0; trial < 300; ++trial) {
    auto bytes = whole;
    auto& byte = bytes[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(bytes.size())))];
    byte = static_cast<char>(byte ^ (1 << draws.below(8)));
    put_bytes(dir / "p", bytes);
    try {
      noticed += read_all() > 0 ? 1 : 0;
    } catch (const DataError&) {
      ++noticed;
    }
  }
  EXPECT_GT(noticed, 250u);  // the hash of a whole block serves writers only
  for (std::size_t size = 0; size < whole.size(); size += 97) {
    put_bytes(dir / "p", whole.substr(0, size));
    EXPECT_THROW(PhraseFile((dir / "p").string()), DataError) << size;
  }
  EXPECT_THROW(PhraseFile((dir / "none").string()), DataError);
}

}  // namespace
}  // namespace triptych
