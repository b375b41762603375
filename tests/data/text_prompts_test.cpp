// Prompt templates and class names.
#include "data/text/prompts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "core/base/errors.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

TEST(LoadPrompts, TheEightyAndTheBareName) {
  const auto prompts = load_prompts("clip81");
  EXPECT_EQ(prompts.size(), 81u);
  EXPECT_EQ(std::set(prompts.begin(), prompts.end()).size(), 81u);
  EXPECT_EQ(prompts.front(), "a bad photo of a {}.");
  EXPECT_EQ(prompts.back(), "{}.");
  EXPECT_EQ(load_prompts("plain"), std::vector<std::string>{"{}"});
}

TEST(LoadPrompts, FromAFile) {
  const TempDir dir;
  const std::string path = dir / "own.txt";
  std::ofstream(path) << "# own templates\na drawing of {}\r\n\n{} on white";
  EXPECT_EQ(load_prompts(path), (std::vector<std::string>{"a drawing of {}", "{} on white"}));

  const auto message = [&](const std::string& text) -> std::string {
    std::ofstream(path) << text;
    try {
      load_prompts(path);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no ConfigError";
  };
  EXPECT_THAT(message("{}\na photo\n"), testing::HasSubstr("own.txt:2: got 'a photo'"));
  EXPECT_THAT(message("{} and {}\n"), testing::HasSubstr("own.txt:1:"));
  EXPECT_THAT(message("# nothing\n"), testing::HasSubstr("no templates"));
  EXPECT_THROW(load_prompts((dir / "missing.txt").string()), ConfigError);
  EXPECT_THROW(load_prompts(dir.path().string()), ConfigError);
}

TEST(FillPrompt, TakesTheNameAsItIs) {
  EXPECT_EQ(fill_prompt("a photo of a {}.", "dog"), "a photo of a dog.");
  EXPECT_EQ(fill_prompt("{}", "{} $& \\1"), "{} $& \\1");
}

TEST(CleanClassName, CommasPlusesAndSpaces) {
  EXPECT_EQ(clean_class_name("great white shark"), "great white shark");
  EXPECT_EQ(clean_class_name("bow, weapon"), "bow weapon");
  EXPECT_EQ(clean_class_name("air+hockey"), "air hockey");
  EXPECT_EQ(clean_class_name(" ,+ two\t spaces + "), "two spaces");
  EXPECT_EQ(clean_class_name("Ärger"), "Ärger");
  EXPECT_EQ(clean_class_name(",+"), "");
}

}  // namespace
}  // namespace triptych
