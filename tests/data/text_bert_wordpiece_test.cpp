// BERT's tokenizer against the ids of the published ones, and its spans by their properties.
#include "data/text/bert_wordpiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <set>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "tests/data/golden_file.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using Ids = std::vector<std::int64_t>;
const std::string kVocabulary = source_path("assets/bert_vocab.txt");

const BertWordPiece& bert() {
  static const BertWordPiece shared(kVocabulary, BertWordPiece::End::kSep);
  return shared;
}

const std::vector<std::string>& vocabulary() {
  static const auto lines = [] {
    std::vector<std::string> all;
    std::ifstream file(kVocabulary);
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }();
  return lines;
}

Ids row_of(const Tokenizer& of, std::string_view text, std::size_t length) {
  Ids row(length, -1);
  of.encode_row(text, row);
  return row;
}

std::string random_text(RandomStream& draws) {
  const std::string parts[] = {"a",  "dog", " ", "\xff", "é",  "中", "\u200d", "e\u0301", "한",     "[MASK]", "[",
                               "##", "-",   "!", "\xe4", "\n", "İ",  "Σ",      "😀",       "\u00a0", "Straße", "un"};
  std::string text;
  for (auto n = draws.below(30); n > 0; --n) text += parts[static_cast<std::size_t>(draws.below(std::size(parts)))];
  return text;
}

TEST(BertWordPiece, GoldenIds) {
  const GoldenFile golden("tokenizers");
  const auto texts = golden.texts("text");
  const auto ids = golden.lists("bert.wordpiece");
  ASSERT_EQ(texts.size(), 300u);
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(bert().encode(texts[i]), ids[i]) << i << ": " << texts[i];
}

// A whole-word lower case would make the final sigma, and special tokens would be text: two golden rows tell.
TEST(BertWordPiece, DiffersFromPlainWordPieceWhereTheLibraryDoes) {
  const GoldenFile golden("tokenizers");
  const auto texts = golden.texts("text");
  const auto plain = golden.lists("bert.wordpiece_plain");
  std::vector<std::size_t> different;
  for (std::size_t i = 0; i < texts.size(); ++i)
    if (bert().encode(texts[i]) != plain[i]) different.push_back(i);
  EXPECT_EQ(different, (std::vector<std::size_t>{192, 256}));
}

TEST(BertWordPiece, RowsAreStartedEndedPaddedAndCut) {
  const Ids cat = bert().encode("a cat");
  ASSERT_EQ(cat, (Ids{1037, 4937}));
  EXPECT_EQ(row_of(bert(), "a cat", 6), (Ids{101, 1037, 4937, 102, 0, 0}));
  EXPECT_EQ(row_of(bert(), "a cat", 4), (Ids{101, 1037, 4937, 102}));
  EXPECT_EQ(row_of(bert(), "a cat", 3), (Ids{101, 1037, 102}));
  EXPECT_EQ(row_of(bert(), "a cat", 2), (Ids{101, 102}));
  EXPECT_EQ(row_of(bert(), "a cat", 1), (Ids{101}));
  EXPECT_EQ(row_of(bert(), "", 3), (Ids{101, 102, 0}));
  EXPECT_EQ(row_of(bert(), "a cat", 0), Ids{});
}

TEST(BertWordPiece, WithoutSepTheRowIsFilledByPieces) {
  const auto tcl = make_tokenizer("bert_wordpiece_no_sep");
  EXPECT_EQ(row_of(*tcl, "a cat", 5), (Ids{101, 1037, 4937, 0, 0}));
  EXPECT_EQ(row_of(*tcl, "a cat", 2), (Ids{101, 1037}));
  EXPECT_EQ(row_of(*tcl, "a cat [SEP]", 5), (Ids{101, 1037, 4937, 102, 0}));  // how TCL ends answers
  EXPECT_EQ(row_of(*tcl, "", 2), (Ids{101, 0}));
}

TEST(BertWordPiece, LongWordsAreUnknownAsAWhole) {
  EXPECT_EQ(bert().encode(std::string(101, 'a')), Ids{BertWordPiece::kUnknown});
  EXPECT_GT(bert().encode(std::string(100, 'a')).size(), 1u);
  std::string accents;  // counted after marks are gone
  for (int i = 0; i < 100; ++i) accents += "e\u0301";
  EXPECT_NE(bert().encode(accents), Ids{BertWordPiece::kUnknown});
  EXPECT_EQ(bert().encode("x\u20ac\u20acq\u2603 a"), (Ids{BertWordPiece::kUnknown, 1037}));  // one part is in no piece
}

TEST(BertWordPiece, InvalidBytesVanish) {
  EXPECT_EQ(bert().encode("a c\xff\xfe"
                          "at"),
            bert().encode("a cat"));
  EXPECT_EQ(bert().encode("cat \xe4\xb8"), bert().encode("cat"));
  EXPECT_EQ(bert().encode("\xed\xa0\x80"), Ids{});
  RandomStream draws(random_key(4, Purpose::kTest));
  for (int trial = 0; trial < 3000; ++trial) {
    std::string text;
    for (auto n = draws.below(60); n > 0; --n) text += static_cast<char>(draws.below(256));
    for (const auto id : bert().encode(text)) ASSERT_TRUE(id >= 0 && id < bert().vocabulary_size());
  }
}

TEST(BertWordPiece, SpansAreInOrderAndOnCharacterBoundaries) {
  RandomStream draws(random_key(5, Purpose::kTest));
  std::size_t seen = 0;
  for (int trial = 0; trial < 5000; ++trial) {
    const auto text = random_text(draws);
    std::set<std::uint32_t> boundaries = {0};
    for (const auto& c : decode_utf8(text)) boundaries.insert(c.source.end);
    ByteSpan before{0, 0};
    const auto pieces = bert().pieces(decode_utf8(text));
    for (const auto& [id, source] : pieces) {
      ASSERT_LT(source.begin, source.end) << text;
      ASSERT_LE(source.end, text.size()) << text;
      ASSERT_TRUE(boundaries.contains(source.begin) && boundaries.contains(source.end)) << text;
      ASSERT_TRUE(source.begin >= before.end || source == before) << text;  // parts of one character share it
      before = source;
      ++seen;
    }
    Ids ids;
    for (const auto& piece : pieces) ids.push_back(piece.id);
    ASSERT_EQ(ids, bert().encode(text));
  }
  EXPECT_GT(seen, 20'000u);
}

// In ASCII a piece is spelled by the very bytes that it points at.
TEST(BertWordPiece, PiecesSpellTheirBytes) {
  const GoldenFile golden("tokenizers");
  std::size_t compared = 0;
  for (const auto& text : golden.texts("text")) {
    if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) < 32; })) continue;
    for (const auto& [id, source] : bert().pieces(decode_utf8(text))) {
      auto bytes = text.substr(source.begin, source.end - source.begin);
      auto piece = vocabulary()[static_cast<std::size_t>(id)];
      if (id == BertWordPiece::kUnknown && bytes != piece) continue;
      if (!bytes.starts_with('['))
        std::transform(bytes.begin(), bytes.end(), bytes.begin(), [](unsigned char c) { return std::tolower(c); });
      if (piece.size() > 2 && piece.starts_with("##")) piece.erase(0, 2);
      ASSERT_EQ(bytes, piece) << text;
      ++compared;
    }
  }
  EXPECT_GT(compared, 2000u);
}

// The rule as published, on words of few letters: always the longest piece that fits.
TEST(BertWordPiece, TakesTheLongestPieces) {
  std::map<std::string, std::int64_t> ids;
  for (std::size_t i = 0; i < vocabulary().size(); ++i) ids.try_emplace(vocabulary()[i], static_cast<std::int64_t>(i));
  RandomStream draws(random_key(6, Purpose::kTest));
  for (int trial = 0; trial < 3000; ++trial) {
    std::string word;
    for (auto n = 1 + draws.below(25); n > 0; --n) word += "aeinrstlo"[draws.below(9)];
    Ids expected;
    for (std::string rest = word; !rest.empty();) {
      auto size = rest.size();
      const auto spelled = [&] { return (expected.empty() ? "" : "##") + rest.substr(0, size); };
      while (size > 0 && !ids.contains(spelled())) --size;
      ASSERT_GT(size, 0u);
      const auto id = ids.at(spelled());
      rest.erase(0, size);
      expected.push_back(id);
    }
    ASSERT_EQ(bert().encode(word), expected) << word;
  }
}

TEST(BertWordPiece, AMegabyteTakesNoQuadraticTime) {
  const std::clock_t start = std::clock();
  EXPECT_EQ(bert().encode(std::string(1 << 20, 'x')), Ids{BertWordPiece::kUnknown});
  std::string words, tokens;
  while (words.size() < (1 << 20)) words += "unaffable ", tokens += "[";
  EXPECT_GT(bert().encode(words).size(), 200'000u);
  EXPECT_GT(bert().encode(tokens).size(), 100'000u);
  EXPECT_EQ(row_of(bert(), words, 25).back(), BertWordPiece::kSep);
  EXPECT_LT(std::clock() - start, 20 * CLOCKS_PER_SEC);
}

TEST(BertWordPiece, NamesWhatIsWrongWithTheVocabulary) {
  const auto message = [](const std::filesystem::path& path) -> std::string {
    try {
      BertWordPiece made(path, BertWordPiece::End::kSep);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no ConfigError";
  };
  const TempDir dir;
  const auto path = dir / "vocab.txt";
  EXPECT_THAT(message(path), testing::AllOf(testing::HasSubstr(path.string()), testing::HasSubstr("scripts/setup")));
  std::ofstream(path) << "[PAD]\na\n";
  EXPECT_THAT(message(path), testing::AllOf(testing::HasSubstr("2 lines"), testing::HasSubstr("30522")));
  {
    std::ofstream file(path);
    for (const auto& line : vocabulary()) file << (line == "[SEP]" ? "[sep]" : line) << "\n";
  }
  EXPECT_THAT(message(path), testing::HasSubstr("line 103 is not [SEP]"));
  std::ofstream(path, std::ios::app) << "more\n";
  EXPECT_THAT(message(path), testing::HasSubstr("more lines"));
}

}  // namespace
}  // namespace triptych
