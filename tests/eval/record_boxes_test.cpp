// Boxes of a file in the pictures that a model sees: against painted pictures, and what does not fit together.
#include "core/eval/record_boxes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/eval/boxed_corpus.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Black, with a white box.
Image painted(Size size, Box box) {
  Image image{size.width, size.height, {}};
  for (int y = 0; y < size.height; ++y) {
    for (int x = 0; x < size.width; ++x) {
      const bool inside = x >= box.x && x < box.x + box.width && y >= box.y && y < box.y + box.height;
      image.rgb.insert(image.rgb.end(), 3, inside ? 255 : 0);
    }
  }
  return image;
}

/// Where a view of a painted picture is white, in shares of its sides.
RealBox white_box(const std::vector<std::uint8_t>& view, int size) {
  int left = size, right = -1, top = size, bottom = -1;
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      if (view[static_cast<std::size_t>(3 * (y * size + x))] < 128) continue;
      left = std::min(left, x), right = std::max(right, x);
      top = std::min(top, y), bottom = std::max(bottom, y);
    }
  }
  const double s = size;
  return {left / s, top / s, (right - left + 1) / s, (bottom - top + 1) / s};
}

RecordBoxes boxes_of(const nlohmann::json& file, const std::vector<Size>& sizes, const DecodeConfig& decode = {},
                     const std::set<std::int64_t>& broken = {}) {
  const TempDir dir;
  return {write_boxes(dir, file), SizedCorpus(sizes, broken), decode, "test"};
}

std::string refusal_of_records(const nlohmann::json& file, const std::vector<Size>& sizes) {
  try {
    boxes_of(file, sizes);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(RecordBoxes, FollowTheViewsOfPaintedPictures) {
  constexpr int kSize = 64;
  for (const Size size : {Size{300, 200}, Size{200, 311}, Size{150, 150}, Size{64, 97}}) {
    for (const auto& [resize, short_side] : {std::pair{"crop", 0}, std::pair{"crop", 80}, std::pair{"stretch", 0}}) {
      // In the middle, so that all of it is to be seen.
      const Box box{size.width * 2 / 5, size.height * 3 / 7, size.width / 6, size.height / 5};
      DecodeConfig decode;
      decode.test_resize = resize;
      decode.test_short_side = short_side;
      std::vector<std::uint8_t> view(3 * kSize * kSize);
      test_view(painted(size, box), resize, kSize, view, short_side);
      auto file = boxes_file({size}, {"thing"});
      add_object(file, 0, 0, box);
      const auto seen = boxes_of(file, {size}, decode).seen(0, size, kSize);
      ASSERT_EQ(seen.objects.size(), 1u);
      const auto got = seen.objects[0].box, expected = white_box(view, kSize);
      const auto say = std::to_string(size.width) + " x " + std::to_string(size.height) + " " + resize + " " +
                       std::to_string(short_side);
      constexpr double kPixel = 1.0 / kSize;
      EXPECT_NEAR(got.x, expected.x, 0.6 * kPixel) << say;
      EXPECT_NEAR(got.y, expected.y, 0.6 * kPixel) << say;
      EXPECT_NEAR(got.x + got.width, expected.x + expected.width, 0.6 * kPixel) << say;
      EXPECT_NEAR(got.y + got.height, expected.y + expected.height, 0.6 * kPixel) << say;
    }
  }
}

TEST(RecordBoxes, InAViewByHand) {
  ViewGeometry view{{10, 20, 40, 80}, {20, 40}, {5, 10, 10, 20}, false};
  auto box = box_in_view({30, 40, 10, 20}, view);  // scaled: 10, 10, 5, 10
  EXPECT_DOUBLE_EQ(box.x, 0.5);
  EXPECT_DOUBLE_EQ(box.y, 0);
  EXPECT_DOUBLE_EQ(box.width, 0.5);
  EXPECT_DOUBLE_EQ(box.height, 0.5);
  view.flip = true;
  box = box_in_view({30, 40, 10, 20}, view);
  EXPECT_DOUBLE_EQ(box.x, 0);
  EXPECT_DOUBLE_EQ(box.width, 0.5);
}

TEST(RecordBoxes, CutAtTheEdgeAndDroppedBelowHalf) {
  const std::vector<Size> sizes = {{16, 8}};  // the view is columns 4 to 12
  auto file = boxes_file(sizes, {"thing"});
  add_object(file, 0, 0, {0, 0, 16, 8}, "all");          // half of it is left
  add_object(file, 0, 0, {2, 0, 4, 8}, "at the edge");   // half
  add_object(file, 0, 0, {1.9, 0, 4, 8}, "less");        // less
  add_object(file, 0, 0, {0, 0, 3, 8}, "outside");       // nothing
  add_object(file, 0, 0, {9, 2, 4, 4}, "to the right");  // three quarters
  const auto seen = boxes_of(file, sizes).seen(0, sizes[0], 8);
  EXPECT_EQ(seen.dropped, 2);
  ASSERT_EQ(seen.objects.size(), 3u);
  EXPECT_EQ(seen.objects[0].phrase, "all");
  EXPECT_DOUBLE_EQ(seen.objects[0].box.x, 0);
  EXPECT_DOUBLE_EQ(seen.objects[0].box.width, 1);
  EXPECT_DOUBLE_EQ(seen.objects[1].box.x, 0);
  EXPECT_DOUBLE_EQ(seen.objects[1].box.width, 0.25);
  EXPECT_DOUBLE_EQ(seen.objects[2].box.x, 0.625);
  EXPECT_DOUBLE_EQ(seen.objects[2].box.y, 0.25);
  EXPECT_DOUBLE_EQ(seen.objects[2].box.width, 0.375);
  EXPECT_DOUBLE_EQ(seen.objects[2].box.height, 0.5);
  DecodeConfig stretch;
  stretch.test_resize = "stretch";
  EXPECT_EQ(boxes_of(file, sizes, stretch).seen(0, sizes[0], 8).dropped, 0) << "all of it is to be seen";
}

TEST(RecordBoxes, FindEntriesByKeyInAnyOrder) {
  const std::vector<Size> sizes = {{8, 8}, {9, 9}, {10, 10}};
  auto file = boxes_file(sizes, {"thing"});
  std::swap(file["images"][0], file["images"][2]);
  file["images"][1]["file_name"] = "1";  // the key itself
  const auto boxes = boxes_of(file, sizes);
  EXPECT_EQ(boxes.records(), 3);
  for (std::int64_t record = 0; record < 3; ++record)
    EXPECT_EQ(boxes.picture(record).size.width, sizes[static_cast<std::size_t>(record)].width);
  EXPECT_EQ(boxes_of(file, {{8, 8}, {9, 9}}).records(), 2) << "entries that no record has are left alone";
}

TEST(RecordBoxes, RefuseACorpusThatIsNotTheFiles) {
  const std::vector<Size> sizes = {{8, 8}, {12, 9}};
  auto file = boxes_file(sizes, {"thing"});
  EXPECT_EQ(refusal_of_records(file, sizes), "nothing was refused");
  EXPECT_THAT(refusal_of_records(file, {{8, 8}, {12, 9}, {8, 8}}),
              AllOf(HasSubstr("eval test"), HasSubstr("no entry for record '2' of toy"), HasSubstr("boxes.coco.json")));
  EXPECT_THAT(refusal_of_records(file, {{8, 8}, {9, 12}}),
              AllOf(HasSubstr("'1.jpg' is 12 x 9"), HasSubstr("record's picture is 9 x 12")));
  EXPECT_NO_THROW(boxes_of(file, {{8, 8}, {9, 12}}, {}, {1})) << "a picture that cannot be decoded has no size";
  EXPECT_THROW(boxes_of(file, sizes).seen(1, {9, 12}, 8), DataError);
}

/// What two runs of one generator write: the same keys and sizes, other scenes.
TEST(RecordBoxes, RefuseTheBoxesOfOtherScenes) {
  const TempDir dir;
  const std::vector<Size> sizes = {{8, 8}, {8, 8}};
  auto file = boxes_file(sizes, {"thing"});
  file["images"][0]["caption"] = "a red car beside a tree";
  file["images"][1]["caption"] = "a dog \n";  // read as captions are, without blanks at its ends
  const auto refusal = [&](const std::vector<std::vector<std::string>>& captions) -> std::string {
    try {
      RecordBoxes(write_boxes(dir, file), SizedCorpus(sizes, {}, captions), {}, "test");
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "nothing was refused";
  };
  EXPECT_EQ(refusal({{"a red car beside a tree"}, {"a dog"}}), "nothing was refused");
  EXPECT_EQ(refusal({{"two cats", "a red car beside a tree"}, {"a dog"}}), "nothing was refused") << "one of several";
  EXPECT_EQ(refusal({{}, {"a dog"}}), "nothing was refused") << "a record without captions";
  EXPECT_THAT(refusal({{"a blue car beside a tree"}, {"a dog"}}),
              AllOf(HasSubstr("eval test"), HasSubstr("boxes.coco.json"),
                    HasSubstr("caption of '0.jpg' is 'a red car beside a tree'"),
                    HasSubstr("the record has 'a blue car beside a tree'")));
  EXPECT_THAT(refusal({{"a red car beside a tree"}, {"a cat"}}), HasSubstr("'1.jpg'"));
  file["images"][1].erase("caption");
  EXPECT_EQ(refusal({{"a red car beside a tree"}, {"a cat"}}), "nothing was refused") << "a file without captions";
}

/// Two records with one key, as two shards may have.
class TwiceCorpus : public SizedCorpus {
 public:
  using SizedCorpus::SizedCorpus;
  RecordPlace place(std::int64_t index) const override { return {"shard " + std::to_string(index), "0", 0}; }
};

TEST(RecordBoxes, RefuseOneEntryForTwoRecords) {
  const TempDir dir;
  const std::vector<Size> sizes = {{8, 8}, {8, 8}};
  const auto path = write_boxes(dir, boxes_file(sizes, {"thing"}));
  try {
    RecordBoxes(path, TwiceCorpus(sizes), {}, "test");
    FAIL() << "two records of one key must be refused";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("two records"), HasSubstr("shard 0"), HasSubstr("shard 1")));
  }
}

}  // namespace
}  // namespace triptych
