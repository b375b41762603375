// Segments, chunks and parsed phrases of captions.
#include "data/text/noun_phrases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "core/base/random_key.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Texts = std::vector<std::string>;

Texts cut(std::string_view text, const std::vector<ByteSpan>& spans) {
  Texts found;
  for (const auto& span : spans) found.emplace_back(text.substr(span.begin, span.end - span.begin));
  return found;
}

const NounPhraseFinder& finder() {
  static const NounPhraseFinder shared;
  return shared;
}

Texts phrases(std::string_view caption) {
  return cut(caption, finder().find(caption));
}

Texts segments(std::string_view caption) {
  Texts found;
  for (const auto& segment : caption_segments(caption)) found.push_back(segment.text);
  return found;
}

TEST(CaptionSegments, EndWherePhrasesEnd) {
  EXPECT_THAT(segments("man farmer: light skin tone, farmer"), ElementsAre("man farmer", "light skin tone", "farmer"));
  EXPECT_THAT(segments("Germany - Bavaria (flag)/\"sign\""), ElementsAre("Germany", "Bavaria", "flag", "sign"));
  EXPECT_THAT(segments("a state-of-the-art U.S.A. map. It's John's!"),
              ElementsAre("a state-of-the-art U.S.A", "map", "It's John's"));
  EXPECT_THAT(segments("a dog\nthe cat😀a bird"), ElementsAre("a dog", "the cat", "a bird"));
  EXPECT_THAT(segments("A RED BUS, A Bus"), ElementsAre("a red bus", "A Bus"));
  EXPECT_THAT(segments(" ,. -- ... "), IsEmpty());
  EXPECT_THAT(segments(""), IsEmpty());
  EXPECT_THAT(segments("dog\xff"
                       "cat \xe4\xb8 bird"),
              ElementsAre("dog", "cat", "bird"));
}

TEST(CaptionSegments, BytesStandForBytesOfTheCaption) {
  const std::string caption = "été rouge,\u00a0big\tred\u3000bus ’s - x";
  for (const auto& segment : caption_segments(caption)) {
    ASSERT_LE(segment.begin + segment.text.size(), caption.size());
    for (std::size_t i = 0; i < segment.text.size(); ++i)
      EXPECT_TRUE(segment.text[i] == ' ' || segment.text[i] == caption[segment.begin + i]) << i;
    for (const auto& word : segment_words(segment))
      EXPECT_EQ(word.text, caption.substr(segment.begin + word.at.begin, word.at.end - word.at.begin));
  }
  EXPECT_THAT(segments(caption), ElementsAre("été rouge", "big red   bus ’s", "x"));
}

WordClasses little_dictionary(const std::string& word) {
  const std::set<std::string> nouns = {"dog", "cat", "house", "hair", "watches", "red"};
  const std::set<std::string> adjectives = {"old", "red", "big"}, verbs = {"watches", "runs"}, others = {"quickly"};
  return {nouns.contains(word), adjectives.contains(word), verbs.contains(word), others.contains(word)};
}

Texts chunks(const std::string& text) {
  const CaptionSegment segment{0, text};
  return cut(text, noun_chunks(segment_words(segment), little_dictionary));
}

TEST(NounChunks, DeterminerModifiersNouns) {
  EXPECT_THAT(chunks("the big old dog house"), ElementsAre("the big old dog house"));
  EXPECT_THAT(chunks("dog house with red hair"), ElementsAre("dog house", "red hair"));
  EXPECT_THAT(chunks("two dog the cat"), ElementsAre("two dog", "the cat"));
  EXPECT_THAT(chunks("3 old cat"), ElementsAre("3 old cat"));
  EXPECT_THAT(chunks("big old"), IsEmpty());
  EXPECT_THAT(chunks("runs quickly the"), IsEmpty());
  EXPECT_THAT(chunks(""), IsEmpty());
}

TEST(NounChunks, UnknownWordsParticiplesAndVerbs) {
  EXPECT_THAT(chunks("big blorb"), ElementsAre("big blorb"));
  EXPECT_THAT(chunks("dog blorbing a cat"), ElementsAre("dog", "a cat"));
  EXPECT_THAT(chunks("a dog watches the cat"), ElementsAre("a dog", "the cat"));
  EXPECT_THAT(chunks("old watches"), ElementsAre("old watches"));
  EXPECT_THAT(chunks("Dog of THE Blorb"), ElementsAre("Dog", "THE Blorb"));
  EXPECT_THAT(chunks("собака 犬 dog"), ElementsAre("dog"));  // other scripts are no English
}

TEST(LinkParser, BaseNounPhrasesOfSentences) {
  EXPECT_THAT(phrases("two dogs playing with a red frisbee in the park"),
              ElementsAre("two dogs", "a red frisbee", "the park"));
  EXPECT_THAT(phrases("An old rusty truck parked on the side of the road next to a tall tree."),
              ElementsAre("An old rusty truck", "the side", "the road", "a tall tree"));
  EXPECT_THAT(phrases("a very big black and white dog"), ElementsAre("a very big black and white dog"));
  EXPECT_THAT(phrases("there is a man riding a wave"), ElementsAre("a man", "a wave"));
  EXPECT_THAT(phrases("the man's hat"), ElementsAre("the man's hat"));
  EXPECT_THAT(phrases("United States flag"), ElementsAre("United States flag"));
}

TEST(NounPhrases, SidesBeforeOfAreNoThings) {
  EXPECT_THAT(phrases("a folder below a grey megaphone, and a book left of a woman and a light bulb"),
              ElementsAre("a folder", "a grey megaphone", "a book", "a woman", "a light bulb"));
  EXPECT_THAT(phrases("a black map right of a clef and above a heart"),
              ElementsAre("a black map", "a clef", "a heart"));
  EXPECT_THAT(phrases("a dog on the left of a cat"), ElementsAre("a dog", "the left", "a cat"));
  EXPECT_THAT(phrases("the right"), ElementsAre("the right"));
}

TEST(LinkParser, BareCaptionsAreNoCommands) {
  EXPECT_THAT(phrases("open hands"), ElementsAre("open hands"));
  EXPECT_THAT(phrases("yellow heart, light skin tone"), ElementsAre("yellow heart", "light skin tone"));
}

TEST(LinkParser, FallsBackToChunks) {
  const LinkParser parser;
  EXPECT_FALSE(parser.noun_phrases({0, "man gesturing OK"}));
  EXPECT_THAT(phrases("man gesturing OK"), ElementsAre("man"));
  std::string long_word(61, 'a'), longer(5000, 'a'), words = "dog";
  long_word.append(" dog");
  EXPECT_FALSE(parser.noun_phrases({0, long_word}));
  EXPECT_EQ(phrases(longer.append(" dog")).size(), 1u);
  for (int i = 0; i < 24; ++i) words += " dog";
  EXPECT_FALSE(parser.noun_phrases({0, words}));
}

TEST(NounPhrases, NothingWhereThereIsNone) {
  EXPECT_THAT(phrases(""), IsEmpty());
  EXPECT_THAT(phrases("it is red"), IsEmpty());
  EXPECT_THAT(phrases("!!! ... 😀"), IsEmpty());
  EXPECT_THAT(phrases("一只猫坐在沙发上"), IsEmpty());
  EXPECT_THAT(phrases("\xff\xfe\xe4\xb8"), IsEmpty());
}

TEST(NounPhrases, AreDisjointAndOnCharacterBoundaries) {
  const Texts parts = {"a",    "red", "dog", " ",  " ",     " ",   ", ",   "\xff", "é",      "été",
                       "with", "the", "’s",  "'s", "\xe4",  "中",  "Bus ", "\n",   "x-ray ", "[",
                       "]",    "&",   "$5 ", "%",  "U.S. ", "is ", "%s",   "\x03"};
  RandomStream draws(random_key(8, Purpose::kTest));
  std::size_t found = 0;
  for (int trial = 0; trial < 400; ++trial) {
    std::string text;
    for (auto n = draws.below(14); n > 0; --n)
      text += parts[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(parts.size())))];
    std::set<std::uint32_t> boundaries = {0};
    for (const auto& c : decode_utf8(text)) boundaries.insert(c.source.end);
    std::uint32_t end = 0;
    for (const auto& span : finder().find(text)) {
      ASSERT_TRUE(span.begin >= end && span.begin < span.end && span.end <= text.size()) << text;
      ASSERT_TRUE(boundaries.contains(span.begin) && boundaries.contains(span.end)) << text;
      end = span.end;
      ++found;
    }
  }
  EXPECT_GT(found, 200u);
}

TEST(NounPhrases, AreTheSameOnSeveralThreads) {
  const Texts captions = {"a man riding a wave on top of a surfboard", "yellow heart", "a black Honda motorcycle",
                          "several colorful hot air balloons"};
  Texts alone;
  for (const auto& caption : captions)
    for (const auto& phrase : phrases(caption)) alone.push_back(phrase);
  std::vector<Texts> together(4);
  {
    std::vector<std::jthread> threads;
    for (auto& mine : together)
      threads.emplace_back([&] {
        for (const auto& caption : captions)
          for (const auto& phrase : phrases(caption)) mine.push_back(phrase);
      });
  }
  for (const auto& mine : together) EXPECT_EQ(mine, alone);
}

}  // namespace
}  // namespace triptych
