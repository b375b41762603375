// What ftfy repairs, and what must be left alone. The golden strings are in text_clip_bpe_test.cpp.
#include "data/text/fix_text.h"

#include <gtest/gtest.h>

#include <string>

#include "core/base/random_key.h"
#include "data/text/characters.h"

namespace triptych {
namespace {

/// UTF-8 bytes read as Latin-1.
std::string spoil(const std::string& text) {
  std::string out;
  for (const char byte : text) append_utf8(static_cast<unsigned char>(byte), out);
  return out;
}

TEST(FixText, RepairsMojibakeOfAnyDepth) {
  EXPECT_EQ(fix_text("schÃ¶n"), "schön");
  EXPECT_EQ(fix_text("Itâ€™s â€œbrokenâ€\u009d â€“ lâ€™Ã©tÃ©"), "It's \"broken\" – l'été");
  EXPECT_EQ(fix_text("CAFÃ‰ Ã  la carte"), "CAFÉ à la carte");
  EXPECT_EQ(fix_text("ðŸ˜€ â™¥"), "😀 ♥");
  EXPECT_EQ(fix_text("ä½\u00a0å¥½"), "你好");
  EXPECT_EQ(fix_text("Ð¿Ñ€Ð¸Ð²ÐµÑ‚"), "привет");
  for (const std::string text : {"schön", "l\u00b4été 20 °C", "你好", "😀 ♥", "привет", "Zażółć gęślą jaźń"}) {
    EXPECT_EQ(fix_text(spoil(text)), text);
    EXPECT_EQ(fix_text(spoil(spoil(text))), text);
    EXPECT_EQ(fix_text(spoil(spoil(spoil(text)))), text);
  }
}

TEST(FixText, DecodesOnlyWhatIsEvidenceBesideOtherCharacters) {
  EXPECT_EQ(fix_text("你好 schÃ¶n"), "你好 schön");
  EXPECT_EQ(fix_text("été schÃ¶n CAFÉ®"), "été schön CAFÉ®");
}

TEST(FixText, LeavesAccentsBeforePunctuationAlone) {
  for (const std::string text : {"CAFÉ® et JOSÉ™", "un café…", "«À la CARTÉ»", "déjà\u00a0» dit", "NÍŽE VÝŠE",
                                 "IRMÃ – ALEMÃ", "CAFÉ·BAR", "5 É€", "Ñandú ¿qué?", "Ünlü Âge",
                                 "naïve façade, Þór og Ð", "ALEMÃ—", "x² ½ ŒUVRE", "Ã", "Â", "ð", "Ã ", "São Paulo"})
    EXPECT_EQ(fix_text(text), text);
}

TEST(FixText, ReferencesAreThoseThatEnd) {
  EXPECT_EQ(fix_text("a &amp;amp; b &#233;t&eacute; &#8217;"), "a & b été '");
  EXPECT_EQ(fix_text("AT&T &copy 2020 &unknown; &; &#; &notit;"), "AT&T &copy 2020 &unknown; &; &#; &notit;");
  EXPECT_EQ(fix_text("1 &lt; 2\n<b> &lt;\n&gt;"), "1 < 2\n<b> &lt;\n&gt;");
}

TEST(FixText, FormsAndControls) {
  EXPECT_EQ(fix_text("ﬁne ﬅ ﬆ Ǆ ǳ ｆｕｌｌ\u3000ｶﾞ e\u0301 x²"), "fine ſt st DŽ dz full ガ é x²");
  EXPECT_EQ(fix_text("\ufeff\x1b[1;31mred\x1b[0m \x1b[; a\rb\u2028c\x01\x7f\u009d"), "red [; a\nb\nc\u009d");
  EXPECT_EQ(fix_text(""), "");
  EXPECT_EQ(fix_text("\n\na\n"), "\n\na\n");
}

// Twice is once, on texts of characters that the rules know.
TEST(FixText, IsIdempotent) {
  constexpr std::u32string_view kPieces = U"aZ &;#<39Ã Ââ€™œšð\u009f\u0080\u00a0»É…ﬁＦ\u0301\x1b[m\r\n“";
  RandomStream draws(random_key(12, Purpose::kTest));
  for (int trial = 0; trial < 3000; ++trial) {
    std::string text;
    for (auto left = draws.below(12); left > 0; --left)
      append_utf8(kPieces[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(kPieces.size())))], text);
    const auto once = fix_text(text);
    if (once.find('<') != once.npos) continue;  // behind it references stay, and nothing says on which round it came
    EXPECT_EQ(fix_text(once), once) << text;
  }
}

}  // namespace
}  // namespace triptych
