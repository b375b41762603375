// HTML references against the answers of Python 3.11's html.unescape.
#include "data/text/html_entities.h"

#include <gtest/gtest.h>

namespace triptych {
namespace {

TEST(HtmlUnescape, AsPythonDoes) {
  const std::pair<std::string, std::string> cases[] = {
      {"", ""},
      {"&", "&"},
      {"a & b", "a & b"},
      {"&amp;&amp &amp", "&& &"},
      {"&amp;amp;", "&amp;"},
      {"&lt;b&gt;", "<b>"},
      {"&eacute;&Eacute;&eacute", "éÉé"},
      {"&notanentity;", "¬anentity;"},
      {"&notin;&notin", "∉¬in"},
      {"&NotEqualTilde;", "≂̸"},
      {"&CounterClockwiseContourIntegral;", "∳"},
      {"&CounterClockwiseContourIntegralx;", "&CounterClockwiseContourIntegralx;"},
      {"&ampere", "&ere"},
      {"&unknown;", "&unknown;"},
      {"&g;&lt", "&g;<"},
      {"&gté&é&lté;", ">é&é<é;"},
      {"&#65;&#x42;&#X43&#68", "ABCD"},
      {"&#;&#x;&#xg;&#", "&#;&#x;&#xg;&#"},
      {"&#0;&#xD800;&#x110000;&#99999999999999999999;", "\ufffd\ufffd\ufffd\ufffd"},
      {"&#128;&#x80;&#x81;&#150;", "€€\u0081–"},
      {"&#1;&#x1f;&#xb;&#127;&#xfdd0;&#xffff;&#x10ffff;", ""},
      {"&#9;&#10;&#12;&#13;", "\t\n\f\r"},
      {"&#x1F600;", "😀"},
      {"&fjlig;&bsol;&quot;&num;&NewLine;", "fj\\\"#\n"},
      {"&&amp;&", "&&&"},
      {"&amp ;", "& ;"},
      {"&a<mp;", "&a<mp;"},
      {"&xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx;", "&xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx;"},
      {"&ltxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx;", "<xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx;"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(html_unescape(text), expected) << text;
}

}  // namespace
}  // namespace triptych
