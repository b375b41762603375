// The reader of COCO's JSON: what it takes and what it refuses, with the entry named.
#include "core/eval/coco_boxes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/eval/boxed_corpus.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Json = nlohmann::json;

Json sound_file() {
  auto file = boxes_file({{40, 30}, {20, 20}}, {"cat", "dog"});
  file["info"] = {{"year", 2017}};
  add_object(file, 1, 1, {2, 3.5, 10, 8}, "a dög");
  add_object(file, 0, 0, {0, 0, 40, 30}, "", /*crowd=*/true);
  add_object(file, 1, 0, {5, 5, 5, 5});
  file["annotations"][0]["segmentation"] = Json::array();
  return file;
}

std::string refusal_of(const Json& file) {
  const TempDir dir;
  try {
    read_coco_boxes(write_boxes(dir, file));
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("boxes.coco.json"));
    return error.what();
  }
  return "nothing was refused";
}

/// The sound file with one value changed, or (null) one key removed.
std::string refusal_with(const std::string& table, std::size_t place, const std::string& key, const Json& value) {
  auto file = sound_file();
  auto& entry = file[table][place];
  if (value.is_null()) {
    entry.erase(key);
  } else {
    entry[key] = value;
  }
  return refusal_of(file);
}

TEST(CocoBoxes, JoinsItsTables) {
  const TempDir dir;
  const auto path = write_boxes(dir, sound_file());
  const auto boxes = read_coco_boxes(path);
  EXPECT_EQ(boxes.path, path);
  EXPECT_EQ(boxes.categories, (std::vector<std::string>{"cat", "dog"}));
  ASSERT_EQ(boxes.pictures.size(), 2u);
  EXPECT_EQ(boxes.pictures[0].file_name, "0.jpg");
  EXPECT_EQ(boxes.pictures[0].size.width, 40);
  EXPECT_EQ(boxes.pictures[0].size.height, 30);
  ASSERT_EQ(boxes.pictures[0].objects.size(), 1u);
  EXPECT_TRUE(boxes.pictures[0].objects[0].crowd);
  EXPECT_EQ(boxes.pictures[0].objects[0].phrase, "");
  ASSERT_EQ(boxes.pictures[1].objects.size(), 2u);
  const auto& dog = boxes.pictures[1].objects[0];
  EXPECT_EQ(dog.category, 1u);
  EXPECT_FALSE(dog.crowd);
  EXPECT_EQ(dog.phrase, "a dög");
  EXPECT_EQ(dog.box.x, 2);
  EXPECT_EQ(dog.box.y, 3.5);
  EXPECT_EQ(dog.box.width, 10);
  EXPECT_EQ(dog.box.height, 8);
}

TEST(CocoBoxes, JoinsPiecesOfAPhraseAndCutsAtTheEdge) {
  auto file = sound_file();
  file["images"][1]["caption"] = "a dog, old";
  file["annotations"][0]["tokens_positive"] = {{0, 5}, {7, 10}};
  file["annotations"][0]["bbox"] = {-0.4, 12, 10, 8.5};
  file["annotations"][2]["tokens_positive"] = Json::array();
  file["annotations"][2].erase("iscrowd");
  const TempDir dir;
  const auto boxes = read_coco_boxes(write_boxes(dir, file));
  const auto& object = boxes.pictures[1].objects[0];
  EXPECT_EQ(object.phrase, "a dog old");
  EXPECT_EQ(object.box.x, 0);
  EXPECT_DOUBLE_EQ(object.box.width, 9.6);
  EXPECT_DOUBLE_EQ(object.box.height, 8);
  EXPECT_EQ(boxes.pictures[1].objects[1].phrase, "");
}

TEST(CocoBoxes, NamesTheEntryThatIsWrong) {
  EXPECT_EQ(refusal_of(sound_file()), "nothing was refused");
  EXPECT_THAT(refusal_with("images", 1, "width", 0), AllOf(HasSubstr("images[1] (id 101)"), HasSubstr("width is 0")));
  EXPECT_THAT(refusal_with("images", 1, "width", 20.5), HasSubstr("whole number"));
  EXPECT_THAT(refusal_with("images", 0, "height", nullptr), HasSubstr("height is missing"));
  EXPECT_THAT(refusal_with("images", 0, "file_name", 7), HasSubstr("file_name is 7"));
  EXPECT_THAT(refusal_with("images", 0, "caption", 7), HasSubstr("caption is 7"));
  EXPECT_THAT(refusal_with("images", 1, "file_name", "0.jpg"), HasSubstr("'0.jpg' is that of another picture"));
  EXPECT_THAT(refusal_with("images", 1, "id", 100), HasSubstr("the id is that of entry 0 too"));
  EXPECT_THAT(refusal_with("images", 1, "id", "x"), HasSubstr("id is \"x\""));
  EXPECT_THAT(refusal_with("categories", 1, "name", "cat"), HasSubstr("'cat' is that of another category"));
  EXPECT_THAT(refusal_with("categories", 1, "name", nullptr), HasSubstr("categories[1] (id 49): name is missing"));
  EXPECT_THAT(refusal_with("annotations", 0, "image_id", 5),
              AllOf(HasSubstr("annotations[0] (id 1)"), HasSubstr("image_id is 5, which no entry of images has")));
  EXPECT_THAT(refusal_with("annotations", 0, "category_id", 5), HasSubstr("which no entry of categories has"));
  EXPECT_THAT(refusal_with("annotations", 0, "iscrowd", 2), HasSubstr("iscrowd is 2"));
}

TEST(CocoBoxes, RefusesBoxesThatAreNone) {
  const auto with_box = [](const Json& box) { return refusal_with("annotations", 2, "bbox", box); };
  EXPECT_THAT(with_box({1, 2, 3}), AllOf(HasSubstr("annotations[2] (id 3)"), HasSubstr("four numbers")));
  EXPECT_THAT(with_box({1, 2, 3, "4"}), HasSubstr("four numbers"));
  EXPECT_THAT(with_box({1, 2, 0, 4}), HasSubstr("empty"));
  EXPECT_THAT(with_box({1, 2, 3, -4}), HasSubstr("empty"));
  EXPECT_EQ(with_box({10, 2, 10.5, 4}), "nothing was refused") << "half a pixel outside is rounding";
  EXPECT_THAT(with_box({12, 2, 10, 4}), HasSubstr("leaves its picture of 20 x 20 pixels"));
  EXPECT_THAT(with_box({-1, 2, 10, 4}), HasSubstr("leaves its picture"));
  EXPECT_THAT(with_box({20, 2, 0.5, 4}), HasSubstr("outside"));
  EXPECT_THAT(with_box(nullptr), HasSubstr("bbox is missing"));
}

TEST(CocoBoxes, RefusesNumbersThatAreNotFinite) {
  const TempDir dir;
  const auto path = (dir / "boxes.coco.json").string();
  auto text = sound_file().dump();
  text.replace(text.find("3.5"), 3, "NaN");
  std::ofstream(path) << text;
  try {
    read_coco_boxes(path);
    FAIL() << "NaN must be refused";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("annotations[0]"), HasSubstr("four numbers")));
  }
}

TEST(CocoBoxes, RefusesWordsThatAreNotTheCaptions) {
  const auto with_words = [](const Json& spans) { return refusal_with("annotations", 0, "tokens_positive", spans); };
  // The caption is " and a dög": 5 bytes, then 6.
  EXPECT_THAT(with_words({{5, 12}}), HasSubstr("which has 11"));
  EXPECT_THAT(with_words({{5, 5}}), HasSubstr("expected bytes"));
  EXPECT_THAT(with_words({{-1, 5}}), HasSubstr("expected bytes"));
  EXPECT_THAT(with_words({{5, 9}}), HasSubstr("cuts a character"));
  EXPECT_THAT(with_words({{9, 11}}), HasSubstr("cuts a character"));
  EXPECT_THAT(with_words({5, 9}), HasSubstr("[begin, end]"));
  EXPECT_THAT(with_words("a dog"), HasSubstr("[begin, end]"));
  auto file = sound_file();
  file["images"][1].erase("caption");
  EXPECT_THAT(refusal_of(file), HasSubstr("which has 0"));
}

TEST(CocoBoxes, RefusesFilesThatAreNone) {
  EXPECT_THAT(refusal_of(Json::array()), HasSubstr("COCO"));
  auto file = sound_file();
  file.erase("annotations");
  EXPECT_THAT(refusal_of(file), HasSubstr("annotations is no list"));
  file = sound_file();
  file["images"][1] = 3;
  EXPECT_THAT(refusal_of(file), HasSubstr("images[1]: got number, expected an object"));
  EXPECT_THROW(read_coco_boxes("/no/such/boxes.json"), ConfigError);
}

}  // namespace
}  // namespace triptych
