// The tokenizer against OpenCLIP's ids.
#include "data/text/clip_bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <set>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "data/text/clip_clean.h"
#include "tests/data/golden_file.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using Ids = std::vector<std::int64_t>;

const Tokenizer& clip() {
  static const auto shared = make_tokenizer("clip_bpe");
  return *shared;
}

Ids row_of(std::string_view text, std::size_t length) {
  Ids row(length, -1);
  clip().encode_row(text, row);
  return row;
}

TEST(ClipBpe, GoldenIds) {
  const GoldenFile golden("tokenizers");
  const auto texts = golden.texts("text");
  const auto ids = golden.lists("clip.full");
  ASSERT_EQ(texts.size(), 300u);
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(clip().encode(texts[i]), ids[i]) << i << ": " << texts[i];
}

TEST(ClipBpe, GoldenRows) {
  const GoldenFile golden("tokenizers");
  const auto texts = golden.texts("text");
  const auto ids = golden.values<std::int32_t>("clip.ids");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto first = ids.begin() + static_cast<std::ptrdiff_t>(77 * i);
    EXPECT_EQ(row_of(texts[i], 77), Ids(first, first + 77)) << i << ": " << texts[i];
  }
}

// Of strings that ftfy changes and of others: docs/data_formats.md names these figures.
TEST(ClipBpe, CleansAsOpenClipDoes) {
  const GoldenFile golden("tokenizers");
  const auto texts = golden.texts("text"), clean = golden.texts("clip.clean");
  const auto changed = golden.values<std::uint8_t>("clip.ftfy_changes_text");
  std::size_t repaired = 0, left_alone = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto found = clip_clean(texts[i]);
    EXPECT_EQ(found, clean[i]) << i << ": " << texts[i];
    (changed[i] ? repaired : left_alone) += found == clean[i];
  }
  EXPECT_EQ(repaired, 23u);
  EXPECT_EQ(left_alone, 277u);
}

TEST(ClipBpe, RowsAreStartedEndedPaddedAndCut) {
  const Ids cat = clip().encode("a cat");
  ASSERT_EQ(cat, (Ids{320, 2368}));
  EXPECT_EQ(row_of("a cat", 6), (Ids{ClipBpe::kStart, 320, 2368, ClipBpe::kEnd, 0, 0}));
  EXPECT_EQ(row_of("a cat", 4), (Ids{ClipBpe::kStart, 320, 2368, ClipBpe::kEnd}));
  EXPECT_EQ(row_of("a cat", 3), (Ids{ClipBpe::kStart, 320, ClipBpe::kEnd}));
  EXPECT_EQ(row_of("a cat", 2), (Ids{ClipBpe::kStart, ClipBpe::kEnd}));
  EXPECT_EQ(row_of("a cat", 1), (Ids{ClipBpe::kEnd}));
  EXPECT_EQ(row_of("", 3), (Ids{ClipBpe::kStart, ClipBpe::kEnd, 0}));
  EXPECT_EQ(row_of("a cat", 0), Ids{});
}

TEST(ClipBpe, SpecialTokensCountAtTheStartOfAWordOnly) {
  EXPECT_EQ(clip().encode("<END_OF_TEXT>a<start_of_text>"), (Ids{ClipBpe::kEnd, 320, ClipBpe::kStart}));
  const Ids swallowed = clip().encode("!<end_of_text>");  // a run of punctuation takes the <
  EXPECT_EQ(std::count(swallowed.begin(), swallowed.end(), ClipBpe::kEnd), 0);
}

// Rare characters where OpenCLIP's pattern, which ignores case, has an opinion of its own. Ids from OpenCLIP 3.3.0.
TEST(ClipBpe, SearchesThatIgnoreCase) {
  EXPECT_EQ(clip().encode("c^o\u0345"), (Ids{322, 317, 334}));  // the iota below vanishes
  EXPECT_EQ(clip().encode("'\u017f"), (Ids{6, 129, 379}));      // a long s after an apostrophe is 's
  EXPECT_EQ(clip().encode("<\u017ftart_of_text>"), (Ids{27, 129, 123, 16707, 62, 684, 62, 18169, 285}));
}

// The rule as published: look for the best pair in the whole word, merge it everywhere, repeat.
std::vector<std::string> plain_merges(std::vector<std::string> word,
                                      const std::map<std::pair<std::string, std::string>, int>& ranks) {
  while (word.size() > 1) {
    std::pair<std::string, std::string> best;
    int best_rank = -1;
    for (std::size_t i = 0; i + 1 < word.size(); ++i) {
      const auto found = ranks.find({word[i], word[i + 1]});
      if (found != ranks.end() && (best_rank < 0 || found->second < best_rank))
        best = found->first, best_rank = found->second;
    }
    if (best_rank < 0) break;
    std::vector<std::string> next;
    for (std::size_t i = 0; i < word.size(); ++i) {
      if (i + 1 < word.size() && word[i] == best.first && word[i + 1] == best.second) {
        next.push_back(word[i] + word[i + 1]);
        ++i;
      } else {
        next.push_back(word[i]);
      }
    }
    word = next;
  }
  return word;
}

TEST(ClipBpe, MergesAsThePlainRuleDoes) {
  std::map<std::pair<std::string, std::string>, int> ranks;
  std::map<std::string, std::int64_t> ids;
  gzFile file = gzopen(source_path("assets/clip_bpe_merges.txt.gz").c_str(), "rb");
  ASSERT_TRUE(file);
  char line[512];
  gzgets(file, line, sizeof line);
  for (int rank = 0; rank < 48894 && gzgets(file, line, sizeof line); ++rank) {
    std::string text(line);
    text.pop_back();
    const auto space = text.find(' ');
    ranks[{text.substr(0, space), text.substr(space + 1)}] = rank;
    ids[text.substr(0, space) + text.substr(space + 1)] = 512 + rank;
  }
  gzclose(file);
  for (char c = '!'; c <= '~'; ++c) ids[{c}] = c - '!', ids[std::string{c} + "</w>"] = c - '!' + 256;

  RandomStream draws(random_key(1, Purpose::kTest));
  for (int trial = 0; trial < 3000; ++trial) {
    const std::string alphabet = trial % 3 == 0 ? "ab" : trial % 3 == 1 ? "aeinst" : "abcdefghijklmnopqrstuvwxyz";
    std::string word;
    for (auto n = 1 + draws.below(40); n > 0; --n)
      word += alphabet[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(alphabet.size())))];
    std::vector<std::string> symbols;
    for (const char c : word) symbols.push_back({c});
    symbols.back() += "</w>";
    Ids expected;
    for (const auto& symbol : plain_merges(symbols, ranks)) expected.push_back(ids.at(symbol));
    ASSERT_EQ(clip().encode(word), expected) << word;
  }
}

TEST(ClipBpe, InvalidBytesCountAsReplacementCharacters) {
  EXPECT_EQ(clip().encode("a \xff cat"), clip().encode("a \xef\xbf\xbd cat"));
  EXPECT_EQ(clip().encode("cut \xe4\xb8"), clip().encode("cut \xef\xbf\xbd"));
  EXPECT_EQ(clip().encode("surrogate \xed\xa0\x80"), clip().encode("surrogate \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
  RandomStream draws(random_key(2, Purpose::kTest));
  for (int trial = 0; trial < 2000; ++trial) {
    std::string text;
    for (auto n = draws.below(60); n > 0; --n)
      text += static_cast<char>(draws.below(3) ? draws.below(256) : "&#x; <'"[draws.below(7)]);
    for (const auto id : clip().encode(text)) ASSERT_TRUE(id >= 0 && id < clip().vocabulary_size());
    const Ids row = row_of(text, 16);
    EXPECT_EQ(row.front(), ClipBpe::kStart);
    EXPECT_NE(std::find(row.begin(), row.end(), ClipBpe::kEnd), row.end());
  }
}

TEST(ClipBpe, CaptionsOfAMegabyteTakeNoQuadraticTime) {
  std::string text;
  RandomStream draws(random_key(3, Purpose::kTest));
  for (int i = 0; i < 1'000'000; ++i) text += static_cast<char>('a' + draws.below(7));
  const std::clock_t start = std::clock();
  const auto ids = clip().encode(text);
  EXPECT_LT(std::clock() - start, 30 * CLOCKS_PER_SEC);  // quadratic: hours
  EXPECT_GT(ids.size(), 100'000u);
  EXPECT_EQ(row_of(text, 77).back(), ClipBpe::kEnd);
}

TEST(MakeTokenizer, NamesWhatIsMissing) {
  const auto message = [](const auto& make) -> std::string {
    try {
      make();
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no ConfigError";
  };
  EXPECT_THAT(message([] { make_tokenizer("wordpiece"); }),
              testing::AllOf(testing::HasSubstr("wordpiece"), testing::HasSubstr("clip_bpe")));
  const TempDir dir;
  const auto path = dir / "merges.txt.gz";
  EXPECT_THAT(message([&] { ClipBpe{path}; }),
              testing::AllOf(testing::HasSubstr(path.string()), testing::HasSubstr("scripts/setup")));
  std::ofstream(path) << "#version\ni n\nt h\n";  // gzread takes plain text as it is
  EXPECT_THAT(message([&] { ClipBpe{path}; }),
              testing::AllOf(testing::HasSubstr(":4: got ''"), testing::HasSubstr("48894")));
  std::ofstream(path) << "#version\ni n\nt qq\n";
  EXPECT_THAT(message([&] { ClipBpe{path}; }), testing::HasSubstr(":3: got 't qq'"));
  {
    std::ifstream whole(source_path("assets/clip_bpe_merges.txt.gz"), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(whole)), {});
    std::ofstream(path, std::ios::binary) << bytes.substr(0, 50'000);
  }
  EXPECT_THAT(message([&] { ClipBpe{path}; }), testing::HasSubstr("cut or damaged gzip"));
  { std::ofstream(path, std::ios::binary) << "\x1f\x8b\x08" << std::string(200, 'x'); }
  EXPECT_THAT(message([&] { ClipBpe{path}; }), testing::HasSubstr("cut or damaged gzip"));
}

}  // namespace
}  // namespace triptych
