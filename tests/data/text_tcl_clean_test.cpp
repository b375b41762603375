// TCL's cleaning against its release, and the places that it keeps.
#include "data/text/tcl_clean.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "data/text/text_clean.h"
#include "data/text/tokenizer.h"
#include "tests/data/golden_file.h"

namespace triptych {
namespace {

using Ids = std::vector<std::int64_t>;

TEST(TclClean, GoldenCaptionsAndQuestions) {
  const GoldenFile golden("tokenizers");
  const auto texts = golden.texts("text"), captions = golden.texts("tcl.caption"),
             questions = golden.texts("tcl.question");
  ASSERT_EQ(texts.size(), 300u);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(encode_utf8(tcl_caption(texts[i])), captions[i]) << i << ": " << texts[i];
    EXPECT_EQ(encode_utf8(tcl_question(texts[i])), questions[i]) << i << ": " << texts[i];
  }
}

TEST(TclClean, GoldenIdsOfCleanCaptionsWithoutSep) {
  const GoldenFile golden("tokenizers");
  const auto texts = golden.texts("text");
  const auto tokenizer = make_tokenizer("bert_wordpiece_no_sep", "tcl_caption");
  for (const std::size_t length : {25, 30}) {
    const auto ids = golden.lists("tcl.ids" + std::to_string(length));
    for (std::size_t i = 0; i < texts.size(); ++i) {
      Ids row(length, -1), expected = ids[i];
      tokenizer->encode_row(texts[i], row);
      expected.resize(length, 0);
      EXPECT_EQ(row, expected) << i << ": " << texts[i];
    }
  }
}

TEST(TclClean, RulesOneByOne) {
  const auto caption = [](std::string_view text) { return encode_utf8(tcl_caption(text)); };
  const auto question = [](std::string_view text) { return encode_utf8(tcl_question(text)); };
  EXPECT_EQ(caption(",.'!?\"()*#:;~"), "");
  EXPECT_EQ(caption("a-b/c"), "a b c");
  EXPECT_EQ(caption("<person> AND <PERSON><person"), "person and person<person");
  EXPECT_EQ(question("<person> is"), "<person> is");
  EXPECT_EQ(caption("a\tb \t c\n"), "a\tb c");  // one tab stays, a run becomes a space
  EXPECT_EQ(question(" a  b?  "), " a  b");
  EXPECT_EQ(caption("ΣΊΣΥΦΟΣ, ΑΣ"), "σίσυφος ας");  // the whole text's lower case
  EXPECT_EQ(caption("Σ"), "σ");
  EXPECT_EQ(caption("İ"), "i\u0307");
  EXPECT_EQ(caption("\xff"), "\ufffd");
  EXPECT_EQ(caption(""), "");
}

TEST(TclClean, KeepsThirtyWords) {
  std::string words, expected;
  for (int i = 0; i < 40; ++i) {
    words += (i ? " w" : "w") + std::to_string(i);
    if (i == 29) expected = words;
  }
  EXPECT_EQ(encode_utf8(tcl_caption(words)), expected);
  EXPECT_EQ(encode_utf8(tcl_question(words)), expected);
  EXPECT_EQ(encode_utf8(tcl_question(words, 50)), words);
}

TEST(TclClean, CharactersKnowWhereTheyCameFrom) {
  const std::string text = "It's a  «Big»-DOG\xff <person>!";
  RandomStream draws(random_key(7, Purpose::kTest));
  for (int trial = 0; trial < 500; ++trial) {
    std::string mixed = text;
    for (int swaps = 0; swaps < 20 && trial > 0; ++swaps)
      std::swap(mixed[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(mixed.size())))],
                mixed[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(mixed.size())))]);
    const auto raw = decode_utf8(mixed);
    std::uint32_t end = 0;
    for (const auto& [code, source] : tcl_caption(mixed)) {
      ASSERT_TRUE(source.begin >= end && source.begin < source.end && source.end <= mixed.size());
      end = source.end;
      if (code == ' ') continue;
      const auto at = std::find_if(raw.begin(), raw.end(), [&](const Character& c) { return c.source == source; });
      ASSERT_NE(at, raw.end());
      ASSERT_EQ(code < 0x80 ? static_cast<char32_t>(std::tolower(static_cast<int>(at->code))) : at->code, code);
    }
  }
}

TEST(TextClean, UnknownNamesAreRefused) {
  EXPECT_EQ(text_clean("none"), TextClean::kNone);
  try {
    make_tokenizer("clip_bpe", "tcl");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("'tcl'"), testing::HasSubstr("tcl_caption")));
  }
}

}  // namespace
}  // namespace triptych
