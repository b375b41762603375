// Phrases of raw captions to rows of tokens.
#include "data/text/phrase_pieces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/base/random_key.h"
#include "tests/data/golden_file.h"
#include "tests/support/paths.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const BertWordPiece& tokenizer() {
  static const BertWordPiece shared(source_path("assets/bert_vocab.txt"), BertWordPiece::End::kNone);
  return shared;
}

ByteSpan span_of(const std::string& caption, const std::string& phrase) {
  const auto at = caption.find(phrase);
  if (at == std::string::npos) throw std::logic_error("no such phrase: " + phrase);
  return {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at + phrase.size())};
}

TEST(PhrasePositions, CountTheFirstTokenAndFollowPieces) {
  const std::string caption = "a red bus, unaffable people";
  const auto pieces = caption_pieces(tokenizer(), caption, TextClean::kNone);
  ASSERT_EQ(pieces.size(), 8u);  // a red bus , una ##ffa ##ble people
  const std::vector<ByteSpan> phrases = {span_of(caption, "a red bus"), span_of(caption, "unaffable people")};
  EXPECT_THAT(phrase_positions(phrases, pieces, 25), ElementsAre(TokenSpan{1, 4}, TokenSpan{5, 9}));
  EXPECT_THAT(phrase_positions(phrases, pieces, 9), ElementsAre(TokenSpan{1, 4}, TokenSpan{5, 9}));
  EXPECT_THAT(phrase_positions(phrases, pieces, 8), ElementsAre(TokenSpan{1, 4}));  // the row's end cuts it
  EXPECT_THAT(phrase_positions(phrases, pieces, 3), IsEmpty());
  EXPECT_THAT(phrase_positions({}, pieces, 25), IsEmpty());
  EXPECT_THAT(phrase_positions(phrases, {}, 25), IsEmpty());
}

TEST(PhrasePositions, AreCarriedThroughCleaning) {
  const std::string caption = "  The «old» man's  state-of-the-art Café, (blue)!";
  const std::vector<ByteSpan> phrases = {span_of(caption, "man's"), span_of(caption, "state-of-the-art Café"),
                                         span_of(caption, ", ("), span_of(caption, "(blue)!")};
  const auto clean = clean_text(caption, TextClean::kTclCaption);
  ASSERT_EQ(encode_utf8(clean), "the «old» mans state of the art café blue");
  const auto pieces = caption_pieces(tokenizer(), caption, TextClean::kTclCaption);
  // the « old » mans state of the art cafe blue
  EXPECT_THAT(phrase_positions(phrases, pieces, 25), ElementsAre(TokenSpan{5, 6}, TokenSpan{6, 11}, TokenSpan{11, 12}));
}

TEST(PhrasePositions, AnyByteInCommonCounts) {
  const std::vector<WordPiece> pieces = {{7, {0, 4}}, {8, {4, 6}}, {9, {6, 9}}};
  const auto at = [&](std::uint32_t begin, std::uint32_t end) {
    return phrase_positions(std::vector<ByteSpan>{{begin, end}}, pieces, 25);
  };
  EXPECT_THAT(at(3, 5), ElementsAre(TokenSpan{1, 3}));
  EXPECT_THAT(at(4, 6), ElementsAre(TokenSpan{2, 3}));
  EXPECT_THAT(at(9, 12), IsEmpty());
  const std::vector<ByteSpan> same = {{0, 2}, {4, 5}, {1, 3}};
  EXPECT_THAT(phrase_positions(same, pieces, 25), ElementsAre(TokenSpan{1, 2}, TokenSpan{2, 3}));
}

// The plain rule, piece by piece, on the golden strings with spans drawn at random.
TEST(PhrasePositions, EqualThePlainRule) {
  const GoldenFile golden("tokenizers");
  RandomStream draws(random_key(9, Purpose::kTest));
  std::size_t compared = 0;
  for (const auto& text : golden.texts("text")) {
    const auto pieces = caption_pieces(tokenizer(), text, TextClean::kTclCaption);
    for (int trial = 0; trial < 10 && !text.empty(); ++trial) {
      const auto begin = static_cast<std::uint32_t>(draws.below(static_cast<std::int64_t>(text.size())));
      const auto left = static_cast<std::int64_t>(text.size()) - begin;
      const ByteSpan phrase{begin,
                            begin + 1 + static_cast<std::uint32_t>(draws.below(std::min<std::int64_t>(left, 20)))};
      std::vector<std::int64_t> members;
      for (std::size_t i = 0; i < pieces.size(); ++i)
        if (pieces[i].source.begin < phrase.end && phrase.begin < pieces[i].source.end)
          members.push_back(static_cast<std::int64_t>(i) + 1);
      const auto found = phrase_positions(std::vector<ByteSpan>{phrase}, pieces, 25);
      if (members.empty() || members.back() >= 25) {
        ASSERT_THAT(found, IsEmpty()) << text;
        continue;
      }
      ASSERT_EQ(members.back() - members.front() + 1, static_cast<std::int64_t>(members.size())) << text;
      ASSERT_THAT(found, ElementsAre(TokenSpan{members.front(), members.back() + 1})) << text;
      ++compared;
    }
  }
  EXPECT_GT(compared, 1000u);
}

}  // namespace
}  // namespace triptych
