// The tree: places, what is kept, dumps that read back, differences.
#include "core/base/yaml_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <string>
#include <vector>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "tests/support/property.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(YamlTree, KnowsWhereEverythingWasWritten) {
  const auto root = parse_yaml("run:\n  name: a\n  list: [1, {x: 2}]\n# end\nlog: null\n", "c.yaml");
  ASSERT_TRUE(root.is_map());
  EXPECT_EQ(root.place.text(), "c.yaml:1:1");
  EXPECT_EQ(root.entries[0].key_place.text(), "c.yaml:1:1");
  const auto* run = root.find("run");
  ASSERT_NE(run, nullptr);
  EXPECT_EQ(run->find("name")->place.text(), "c.yaml:2:9");
  EXPECT_EQ(run->entries[1].key_place.text(), "c.yaml:3:3");
  EXPECT_EQ(run->find("list")->items[1].find("x")->place.text(), "c.yaml:3:17");
  EXPECT_EQ(root.find("log")->place.line, 5);
  EXPECT_TRUE(root.find("log")->is_null());
  EXPECT_EQ(root.find("absent"), nullptr);
}

TEST(YamlTree, OptionsHaveNoLines) {
  EXPECT_EQ(parse_yaml("{a: 1}", "--set b={a: 1}", false).find("a")->place.text(), "--set b={a: 1}");
}

TEST(YamlTree, TellsTextInQuotesFromBareText) {
  const auto root = parse_yaml("a: \"1\"\nb: 1\nc: '1'\nd: |\n  1\n", "c.yaml");
  EXPECT_TRUE(root.find("a")->quoted);
  EXPECT_FALSE(root.find("b")->quoted);
  EXPECT_TRUE(root.find("c")->quoted);
  EXPECT_TRUE(root.find("d")->quoted);
  EXPECT_EQ(root.find("d")->scalar, "1\n");
}

TEST(YamlTree, AnEmptyDocumentIsNull) {
  EXPECT_TRUE(parse_yaml("", "a").is_null());
  EXPECT_TRUE(parse_yaml("# nothing\n", "a").is_null());
  EXPECT_TRUE(parse_yaml("---\n", "a").is_null());
}

TEST(YamlTree, WindowsLineEndsAreFine) {
  const auto root = parse_yaml("a: 1\r\nb: x\r\n", "a");
  EXPECT_EQ(root.find("b")->scalar, "x");
  EXPECT_EQ(root.find("b")->place.text(), "a:2:4");
}

TEST(YamlTree, DepthIsLimitedTo64) {
  const std::string open(64, '['), close(64, ']');
  EXPECT_NO_THROW(parse_yaml(open + close, "a"));
  EXPECT_THROW(parse_yaml("[" + open + close + "]", "a"), ConfigError);
  EXPECT_THROW(parse_yaml(std::string(500'000, '['), "a"), ConfigError);
  EXPECT_THROW(parse_yaml(std::string(500'000, '{'), "a"), ConfigError);
}

TEST(YamlTree, LargeMapsAreReadInTime) {
  std::string text;
  for (int i = 0; text.size() < 1'000'000; ++i) text += "key" + std::to_string(i) + ": 1\n";
  const auto start = std::clock();  // processor time: the machine may be busy
  EXPECT_GT(parse_yaml(text, "a").entries.size(), 50'000u);
  EXPECT_LT(std::clock() - start, 20 * CLOCKS_PER_SEC);  // sanitizers included; a quadratic reader takes minutes
}

TEST(YamlTree, FilesAreBounded) {
  const TempDir folder;
  write_file_atomically(folder / "large.yaml", "a: " + std::string(2 << 20, 'x'));
  try {
    parse_yaml_file(folder / "large.yaml");
    FAIL() << "nothing was thrown";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("is larger than the 1.0 MiB"));
  }
}

TEST(YamlTree, Utf8IsKept) {
  EXPECT_EQ(parse_yaml("a: \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n", "a").find("a")->scalar,
            "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
}

// ---- dumps ----

std::string structure(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "~";
    case YamlNode::Kind::kScalar:
      return "<" + node.scalar + ">";
    case YamlNode::Kind::kList: {
      std::string text = "[";
      for (const auto& item : node.items) text += structure(item);
      return text + "]";
    }
    case YamlNode::Kind::kMap:
      break;
  }
  std::string text = "{";
  for (const auto& entry : node.entries) text += "<" + entry.key + ">=" + structure(entry.value);
  return text + "}";
}

TEST(YamlTree, DumpsReadBack) {
  for (const char* text : {"{}",
                           "[]",
                           "a: {}",
                           "a: []",
                           "a: null",
                           "a: [1, 2]",
                           "a: [{b: 1, c: [x]}, {b: 2}]",
                           "a: [[1], [2, 3], []]",
                           "a: [{}, null, x]",
                           "a: {b: {c: {d: 1}}}",
                           "a: ''",
                           "a: ' x '",
                           "a: 'true'",
                           "a: '1e5'",
                           "a: '# x: y'",
                           "a: '[x'",
                           "'a b: c': 1",
                           "a: '\"\\'",
                           "a: '- x'",
                           "a: 'caf\xc3\xa9'"}) {
    const auto tree = parse_yaml(text, "a");
    const auto dumped = dump_yaml(tree);
    EXPECT_EQ(structure(parse_yaml(dumped, "b")), structure(tree)) << dumped;
    EXPECT_EQ(structure(parse_yaml(flow_yaml(tree), "b")), structure(tree)) << flow_yaml(tree);
  }
}

TEST(YamlTree, AnyTextSurvivesADump) {
  EXPECT_TRUE(holds("dump, read", [](const std::vector<std::uint16_t>& characters) {
    std::string text;  // up to U+FFFF, without surrogates
    for (const auto c : characters) {
      if (c < 0x80) {
        text += static_cast<char>(c);
      } else if (c < 0x800) {
        text += {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))};
      } else if (c < 0xd800 || c > 0xdfff) {
        text += {static_cast<char>(0xe0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3f)),
                 static_cast<char>(0x80 | (c & 0x3f))};
      }
    }
    YamlNode map = yaml_map();
    map.entries.push_back({"key", {}, yaml_scalar(text, true)});
    const auto back = parse_yaml(dump_yaml(map), "a");
    RC_ASSERT(back.find("key")->scalar == text);
  }));
}

TEST(YamlTree, EveryAsciiTextOfTwoSurvivesADump) {
  for (int a = 0; a < 128; ++a) {
    for (int b = 0; b < 128; ++b) {
      const std::string text = {static_cast<char>(a), static_cast<char>(b)};
      YamlNode list = yaml_list();
      list.items.push_back(yaml_scalar(text, true));
      ASSERT_EQ(parse_yaml(dump_yaml(list), "a").items[0].scalar, text) << dump_yaml(list);
    }
  }
}

TEST(YamlTree, WordsThatOtherReadersTakeForValuesAreQuoted) {
  for (const char* word : {"true", "No", "ON", "null", "y", "1", "010", "1e3", ".5", "~", "-", "0x1f", "12:30"}) {
    EXPECT_EQ(flow_yaml(yaml_scalar(word, true)), "\"" + std::string(word) + "\"");
  }
  EXPECT_EQ(flow_yaml(yaml_scalar("corpora/train-000.tar", true)), "corpora/train-000.tar");
}

// ---- damage ----

TEST(YamlTree, DamagedDocumentsAreConfigErrorsAndNothingElse) {
  const std::string good =
      "run: {name: a, list: [1, 'x', \"y\"]}\ndata:\n  - a: |\n      text\n    b: >-\n      more\n  - {}\n";
  EXPECT_TRUE(holds("parse or ConfigError", [&](std::uint32_t draw) {
    std::string text = good;
    const auto at = draw % text.size();
    static const std::string kInsert = "{}[]:,-?&*!|>'\"%@`#\n \tx0\\";
    switch (draw >> 28 & 3) {
      case 0:
        text.erase(at, 1 + (draw >> 8) % 3);
        break;
      case 1:
        text.insert(at, 1, kInsert[(draw >> 8) % kInsert.size()]);
        break;
      case 2:
        text[at] = static_cast<char>(draw >> 8);
        break;
      default:
        text.resize(at);
    }
    try {
      parse_yaml(text, "a");
    } catch (const ConfigError& error) {
      RC_ASSERT(std::string(error.what()).find('\n') == std::string::npos);
    }
  }));
}

// ---- differences ----

std::vector<std::string> compared(const std::string& a, const std::string& b) {
  return differences(parse_yaml(a, "a"), parse_yaml(b, "b"));
}

TEST(YamlTree, Differences) {
  EXPECT_THAT(compared("{a: 1, b: {c: 2}}", "{b: {c: 2}, a: 1}"), IsEmpty());
  EXPECT_THAT(compared("{a: 1, b: {c: 2, d: 3}}", "{a: 2, b: {c: 2, d: 4}}"), ElementsAre("a", "b.d"));
  EXPECT_THAT(compared("{a: 1}", "{a: 1, b: 2}"), ElementsAre("b"));
  EXPECT_THAT(compared("{a: 1, b: 2}", "{a: 1}"), ElementsAre("b"));
  EXPECT_THAT(compared("{a: [1, 2]}", "{a: [1, 3]}"), ElementsAre("a.1"));
  EXPECT_THAT(compared("{a: [{w: 1}, {w: 2}]}", "{a: [{w: 1}, {w: 3}]}"), ElementsAre("a.1.w"));
  EXPECT_THAT(compared("{a: [1, 2]}", "{a: [1]}"), ElementsAre("a"));
  EXPECT_THAT(compared("{a: {steps: 1}}", "{a: {epochs: 1}}"), ElementsAre("a.steps", "a.epochs"));
  EXPECT_THAT(compared("{a: null}", "{a: {b: 1}}"), ElementsAre("a"));
}

TEST(YamlTree, ShownTextIsOneShortLine) {
  EXPECT_EQ(shown("a\nb\x1b"), "'a\\x0ab\\x1b'");
  EXPECT_EQ(shown(std::string(100, 'x')), "'" + std::string(80, 'x') + "...'");
  EXPECT_EQ(shown(std::string(79, 'x') + "\xc3\xa9yy"), "'" + std::string(79, 'x') + "...'");  // no half character
}

}  // namespace
}  // namespace triptych
