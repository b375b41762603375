// extends and --set.
#include "core/base/config_layers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const UnionKeys kUnions = {{"objective", "name"}, {"model.image", "type"}, {"eval[]", "name"}, {"schedule.total", ""}};

class ConfigLayers : public testing::Test {
 protected:
  void file(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    write_file_atomically(folder_ / name, text);
  }
  YamlNode load(const std::string& name) { return load_yaml_layers(folder_ / name, kUnions); }
  std::string loaded(const std::string& name) { return flow_yaml(load(name)); }
  std::string error(const std::string& name) {
    try {
      load(name);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "nothing was thrown";
  }
  TempDir folder_;
};

TEST_F(ConfigLayers, MapsMergeListsAndValuesAreReplaced) {
  file("base.yaml", "a: {x: 1, v: [1, 2, 3], z: {p: 1, q: 2}}\nb: 5\n");
  file("top.yaml", "extends: base.yaml\na: {v: [9], z: {q: 3}}\nc: 6\n");
  EXPECT_EQ(loaded("top.yaml"), "{a: {x: 1, v: [9], z: {p: 1, q: 3}}, b: 5, c: 6}");
}

TEST_F(ConfigLayers, DurationsAreReplacedWhole) {
  file("base.yaml", "schedule: {total: {steps: 5}, warmup: {steps: 1}}\n");
  file("top.yaml", "extends: base.yaml\nschedule: {total: {epochs: 2}}\n");
  EXPECT_EQ(loaded("top.yaml"), "{schedule: {total: {epochs: 2}, warmup: {steps: 1}}}");
}

TEST_F(ConfigLayers, ValuesKeepThePlaceOfTheirOwnFile) {
  file("base.yaml", "a:\n  x: 1\n");
  file("top.yaml", "extends: base.yaml\na:\n\n  y: 2\n");
  const auto root = load("top.yaml");
  EXPECT_EQ(root.find("a")->find("x")->place.text(), (folder_ / "base.yaml").string() + ":2:6");
  EXPECT_EQ(root.find("a")->find("y")->place.text(), (folder_ / "top.yaml").string() + ":4:6");
}

TEST_F(ConfigLayers, PathsAreRelativeToTheFileAndChain) {
  file("models/deep/root.yaml", "a: 1\nb: 1\nc: 1\n");
  file("models/middle.yaml", "extends: deep/root.yaml\nb: 2\nc: 2\n");
  file("top.yaml", "extends: models/middle.yaml\nc: 3\n");
  EXPECT_EQ(loaded("top.yaml"), "{a: 1, b: 2, c: 3}");
}

TEST_F(ConfigLayers, ASectionWhoseKindChangesIsReplacedWhole) {
  file("base.yaml", "objective: {name: tcl, queue: 100}\nmodel: {image: {type: vit, width: 8}, embed_dim: 4}\n");
  file("top.yaml", "extends: base.yaml\nobjective: {name: unicl}\nmodel: {image: {type: swin}}\n");
  EXPECT_EQ(loaded("top.yaml"), "{objective: {name: unicl}, model: {image: {type: swin}, embed_dim: 4}}");
}

TEST_F(ConfigLayers, TheSameKindMerges) {
  file("base.yaml", "objective: {name: tcl, queue: 100}\n");
  file("top.yaml", "extends: base.yaml\nobjective: {name: tcl, alpha: 1}\n");
  EXPECT_EQ(loaded("top.yaml"), "{objective: {name: tcl, queue: 100, alpha: 1}}");
}

TEST_F(ConfigLayers, ANameThatIsNoKindIsAValueLikeOthers) {
  file("base.yaml", "run: {name: base, seed: 7}\n");
  file("top.yaml", "extends: base.yaml\nrun: {name: top}\n");
  EXPECT_EQ(loaded("top.yaml"), "{run: {name: top, seed: 7}}");
}

TEST_F(ConfigLayers, NullTakesAnOptionalSectionAway) {
  file("base.yaml", "keep_best: {metric: x}\n");
  file("top.yaml", "extends: base.yaml\nkeep_best: null\n");
  EXPECT_EQ(loaded("top.yaml"), "{keep_best: null}");
}

TEST_F(ConfigLayers, EmptyFilesAreEmptySections) {
  file("base.yaml", "");
  file("top.yaml", "extends: base.yaml\na: 1\n");
  EXPECT_EQ(loaded("top.yaml"), "{a: 1}");
  EXPECT_EQ(loaded("base.yaml"), "{}");
}

TEST_F(ConfigLayers, CirclesAreErrors) {
  file("self.yaml", "extends: self.yaml\n");
  EXPECT_THAT(error("self.yaml"), AllOf(HasSubstr("self.yaml:1:10"), HasSubstr("self.yaml -> self.yaml")));
  file("a.yaml", "extends: b.yaml\n");
  file("b.yaml", "x: 1\nextends: ./c.yaml\n");
  file("c.yaml", "extends: ../" + folder_.path().filename().string() + "/a.yaml\n");
  EXPECT_THAT(error("a.yaml"), AllOf(HasSubstr("c.yaml:1:10"), HasSubstr("a.yaml -> b.yaml -> c.yaml -> a.yaml")));
}

TEST_F(ConfigLayers, ErrorsNameTheFileAndTheLine) {
  file("a.yaml", "x: 1\nextends: absent.yaml\n");
  EXPECT_THAT(error("a.yaml"), AllOf(HasSubstr("a.yaml:2:10"), HasSubstr("absent.yaml"), HasSubstr("relative")));
  file("b.yaml", "extends: [a.yaml]\n");
  EXPECT_THAT(error("b.yaml"), AllOf(HasSubstr("b.yaml:1:10"), HasSubstr("a list of 1"), HasSubstr("one file")));
  file("c.yaml", "extends:\n");
  EXPECT_THAT(error("c.yaml"), HasSubstr("got nothing"));
  file("d.yaml", "- a\n- b\n");
  EXPECT_THAT(error("d.yaml"), HasSubstr("got a list of 2, expected sections"));
  file("e.yaml", "extends: f.yaml\n");
  file("f.yaml", "a: [1\n");
  EXPECT_THAT(error("e.yaml"), HasSubstr("f.yaml:2:1: this is no YAML"));
  EXPECT_THAT(error("absent.yaml"), AllOf(HasSubstr("absent.yaml"), HasSubstr("No such file")));
  EXPECT_THAT(error("."), HasSubstr("Is a directory"));
}

// ---- --set ----

std::string after(const std::string& text, const std::vector<std::string>& assignments) {
  auto root = parse_yaml(text, "a.yaml");
  apply_assignments(root, assignments, kUnions);
  return flow_yaml(root);
}

std::string set_error(const std::string& text, const std::string& assignment) {
  try {
    after(text, {assignment});
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(ConfigSet, EditsAddsAndReplaces) {
  EXPECT_EQ(after("{a: {b: 1, c: 2}}", {"a.b=5"}), "{a: {b: 5, c: 2}}");
  EXPECT_EQ(after("{a: {b: 1}}", {"a.d.e=5"}), "{a: {b: 1, d: {e: 5}}}");
  EXPECT_EQ(after("{a: 1}", {"a={steps: 5}"}), "{a: {steps: 5}}");
  EXPECT_EQ(after("{a: null}", {"a.b=5"}), "{a: {b: 5}}");
  EXPECT_EQ(after("{a: 1}", {"a=2", "a=3"}), "{a: 3}");
  EXPECT_EQ(after("", {"a.b=c=d"}), "{a: {b: c=d}}");
}

TEST(ConfigSet, ReachesListElements) {
  EXPECT_EQ(after("{a: [{b: 1}, {b: 2}]}", {"a.1.b=5"}), "{a: [{b: 1}, {b: 5}]}");
  EXPECT_EQ(after("{a: [1, 2]}", {"a.0=7"}), "{a: [7, 2]}");
  EXPECT_EQ(after("{a: [1, 2]}", {"a=[]"}), "{a: []}");
}

TEST(ConfigSet, ValuesAreYaml) {
  auto root = parse_yaml("{}", "a.yaml");
  apply_assignments(root, {"a='1'", "b=1", "c=", "d=null"}, kUnions);
  EXPECT_TRUE(root.find("a")->quoted);
  EXPECT_FALSE(root.find("b")->quoted);
  EXPECT_TRUE(root.find("c")->is_null());
  EXPECT_TRUE(root.find("d")->is_null());
  EXPECT_EQ(root.find("b")->place.text(), "--set b=1");
}

TEST(ConfigSet, AnotherKindDropsTheKeysOfTheOldOneInAnyOrder) {
  const std::string text = "{objective: {name: tcl, queue: 100}, eval: [{name: knn, k: 5}]}";
  EXPECT_EQ(after(text, {"objective.name=clip"}), "{objective: {name: clip}, eval: [{name: knn, k: 5}]}");
  EXPECT_EQ(after(text, {"objective.clamp=true", "objective.name=clip"}),
            "{objective: {name: clip, clamp: true}, eval: [{name: knn, k: 5}]}");
  EXPECT_EQ(after(text, {"objective.name=tcl"}), text);
  EXPECT_EQ(after(text, {"eval.0.name=retrieval"}), "{objective: {name: tcl, queue: 100}, eval: [{name: retrieval}]}");
}

TEST(ConfigSet, Errors) {
  EXPECT_THAT(set_error("{}", "a.b"), AllOf(HasSubstr("--set a.b: "), HasSubstr("KEY=VALUE")));
  EXPECT_THAT(set_error("{}", "=5"), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(set_error("{}", "a..b=5"), HasSubstr("empty"));
  EXPECT_THAT(set_error("{}", ".a=5"), HasSubstr("empty"));
  EXPECT_THAT(set_error("{}", "a.=5"), HasSubstr("empty"));
  EXPECT_THAT(set_error("{a: [1, 2]}", "a.2=5"), AllOf(HasSubstr("a is a list of 2"), HasSubstr("'2'")));
  EXPECT_THAT(set_error("{a: [1, 2]}", "a.x=5"), HasSubstr("no index"));
  EXPECT_THAT(set_error("{a: [1, 2]}", "a.99999999999999999999=5"), HasSubstr("no index"));
  EXPECT_THAT(set_error("{a: 5}", "a.b=5"), AllOf(HasSubstr("a is '5'"), HasSubstr("not a section")));
  EXPECT_THAT(set_error("{}", "a=[1"), AllOf(HasSubstr("--set a=[1: "), HasSubstr("no YAML")));
  EXPECT_THAT(set_error("{}", "a=&x 1"), HasSubstr("anchors"));
  EXPECT_THAT(set_error("{}", "a=x\n---\ny"), HasSubstr("second document"));
}

}  // namespace
}  // namespace triptych
