// The list of fields, as data, as help and as Markdown.
#include "core/base/config_describe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/base/example_config.h"

namespace triptych {
namespace {

using testing::HasSubstr;
using testing::Not;

const FieldInfo* find(const FieldList& fields, const std::string& path, const std::string& kind = "") {
  const auto found = std::find_if(fields.begin(), fields.end(),
                                  [&](const auto& field) { return field.path == path && field.kind == kind; });
  return found == fields.end() ? nullptr : &*found;
}

void expect_field(const std::string& path, const std::string& kind, const std::string& type,
                  const std::string& standard, const std::string& allowed) {
  static const auto fields = describe_config<example::Config>();
  const auto* field = find(fields, path, kind);
  ASSERT_NE(field, nullptr) << path;
  EXPECT_EQ(field->type, type) << path;
  EXPECT_EQ(field->standard, standard) << path;
  EXPECT_EQ(field->allowed, allowed) << path;
  EXPECT_FALSE(field->help.empty()) << path;
}

TEST(ConfigDescribe, ListsEveryFieldWithTypeDefaultAndLimits) {
  expect_field("run_name", "", "text", "run", "");
  expect_field("data", "", "section", "", "");
  expect_field("data.corpora", "", "list", "[]", "");
  expect_field("data.corpora[]", "", "section", "", "");
  expect_field("data.corpora[].kind", "", "text", "image_text", "one of image_text, image_label");
  expect_field("data.corpora[].path", "", "path", "\"\"", "");
  expect_field("data.corpora[].caption_keys", "", "list of text", "[txt]", "");
  expect_field("data.corpora[].weight", "", "number", "1", "> 0");
  expect_field("data.shuffle.full", "", "true or false", "false", "");
  expect_field("data.scale", "", "list of 2: number", "[0.9, 1]", "between 0 and 1");
  expect_field("data.workers", "", "whole number", "1", "between 1 and 256");
  expect_field("model.image", "", "section by type", "", "type: vit, swin");
  expect_field("model.image.width", "model.image.type: vit", "whole number", "768", ">= 1");
  expect_field("model.image.window", "model.image.type: swin", "whole number", "7", ">= 1");
  expect_field("objective.temperature", "objective.name: loupe", "number", "0.07", "> 0");
  expect_field("optimizer.name", "", "text", "adamw", "adamw");
  expect_field("schedule.total", "", "duration", "{epochs: 10}", "");
  expect_field("keep_best", "", "section or null", "null", "");
  expect_field("keep_best.metric", "", "text", "\"\"", "");
  expect_field("clip_norm", "", "number or null", "null", "> 0");
  expect_field("eval", "", "list", "[]", "");
  expect_field("eval[]", "", "section by name", "", "name: knn, retrieval");
  expect_field("eval[].every", "eval[].name: retrieval", "duration", "{epochs: 1}", "");
}

TEST(ConfigDescribe, UnionsAndTheirKeys) {
  const UnionKeys expected = {{"model.image", "type"}, {"objective", "name"},   {"eval[]", "name"},
                              {"schedule.total", ""},  {"schedule.warmup", ""}, {"eval[].every", ""}};
  EXPECT_EQ(union_keys(describe_config<example::Config>()), expected);
}

TEST(ConfigDescribe, Help) {
  const auto fields = describe_config<example::Config>();
  const auto all = config_help(fields);
  EXPECT_THAT(all, HasSubstr("optimizer.lr  (number, > 0; default 0.001)\n      peak learning rate\n"));
  EXPECT_THAT(all, HasSubstr("with objective.name: loupe\nobjective.temperature  (number, > 0; default 0.07)\n"));
  const auto one = config_help(fields, "optimizer");
  EXPECT_THAT(one, HasSubstr("optimizer.eps"));
  EXPECT_THAT(one, Not(HasSubstr("schedule")));
}

TEST(ConfigDescribe, Markdown) {
  const auto text = config_markdown(describe_config<example::Config>());
  EXPECT_THAT(text, HasSubstr("## `optimizer`\n\nThe update.\n\n| key | type | default | allowed | meaning |\n"));
  EXPECT_THAT(text, HasSubstr("| `optimizer.lr` | number | `0.001` | > 0 | peak learning rate |\n"));
  EXPECT_THAT(text, HasSubstr("smallest and largest share \\| of the area"));
  EXPECT_THAT(text, HasSubstr("\nWith `objective.name: loupe`:\n\n| key |"));
  EXPECT_THAT(text, HasSubstr("\nWith `eval[].name: retrieval`:\n\n| key |"));
  // What is there in every kind stands before the tables of the kinds.
  EXPECT_LT(text.find("`model.embed_dim`"), text.find("With `model.image.type: vit`"));
}

}  // namespace
}  // namespace triptych
