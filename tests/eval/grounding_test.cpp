// Grounding with region heads that know the answer, its opposite or nothing, and against plain loops.
#include "core/eval/grounding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/eval/activation_boxes.h"
#include "core/eval/box_metrics.h"
#include "core/eval/evaluator_table.h"
#include "tests/eval/boxed_corpus.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

using testing::HasSubstr;

struct Scenes {
  std::vector<Size> sizes;
  nlohmann::json file;
  std::set<std::int64_t> broken;
};

std::vector<Metric> ground_all(const Scenes& scenes, const Encoders& encoders, int ranks, const std::string& proposals,
                               double threshold = 0.5) {
  const TempDir dir;
  GroundingConfig config;
  config.boxes = write_boxes(dir, scenes.file);
  config.proposals = proposals;
  config.threshold = threshold;
  std::vector<Metric> result;
  run_ranks(ranks, [&](Collectives& comm) {
    Grounding grounding(config, std::make_unique<SizedCorpus>(scenes.sizes, scenes.broken), {});
    auto scope = toy_scope(comm, 4);
    const auto metrics = grounding.run(encoders, scope);
    EXPECT_EQ(names_of(metrics), grounding.metric_names());
    if (comm.rank() == ranks - 1) result = metrics;
  });
  return result;
}

/// Two pictures of 8 x 8 with an object in two corners each, four regions: the corners.
struct Corners {
  Scenes scenes;
  std::vector<std::string> phrases = {"a red cat", "the dog", "a tree", "an old house"};
  at::Tensor box_NM4, place_4;

  Corners() {
    scenes.sizes = {{8, 8}, {8, 8}};
    scenes.file = boxes_file(scenes.sizes, {"thing"});
    add_object(scenes.file, 0, 0, {0, 0, 4, 4}, phrases[0]);
    add_object(scenes.file, 0, 0, {4, 4, 4, 4}, phrases[1]);
    add_object(scenes.file, 1, 0, {4, 0, 4, 4}, phrases[2]);
    add_object(scenes.file, 1, 0, {0, 4, 4, 4}, phrases[3]);
    add_object(scenes.file, 1, 0, {0, 0, 8, 8});  // named by no words
    place_4 = at::tensor({0, 3, 1, 2}, at::kLong);
    box_NM4 = at::tensor({0., 0., .5, .5, .5, 0., 1., .5, 0., .5, .5, 1., .5, .5, 1., 1.}, at::kFloat)
                  .view({1, 4, 4})
                  .expand({2, 4, 4});
  }
  /// Region i of every picture is the unit vector i; `text_4d` are the phrases.
  Encoders encoders(const at::Tensor& text_4d) const {
    Encoders made{.image = {}, .text = toy_texts(phrases, text_4d), .classify = {}, .scale = {}};
    const auto unit_1Md = at::eye(4).unsqueeze(0);
    made.regions = toy_regions(box_NM4, unit_1Md.expand({2, 4, 4}));
    made.patches = toy_images(unit_1Md.expand({2, 4, 4}));  // a grid of 2 x 2
    return made;
  }
};

TEST(Grounding, FindsWhatTheRegionsKnow) {
  const Corners corners;
  const auto metrics =
      ground_all(corners.scenes, corners.encoders(at::eye(4).index_select(0, corners.place_4)), 1, "regions");
  EXPECT_EQ(metric(metrics, "accuracy_50"), 1);
  EXPECT_EQ(metric(metrics, "accuracy_30"), 1);
  EXPECT_EQ(metric(metrics, "mean_iou"), 1);
  EXPECT_EQ(metric(metrics, "pointing"), 1);
  EXPECT_EQ(metric(metrics, "chance"), 0.25);
  EXPECT_EQ(metric(metrics, "phrases"), 4);
  EXPECT_EQ(metric(metrics, "samples"), 2);
}

TEST(Grounding, FindsNothingWithWrongTextsAndChanceWithoutKnowledge) {
  const Corners corners;
  const auto wrong = at::eye(4).index_select(0, (corners.place_4 + 1) % 4);
  EXPECT_EQ(metric(ground_all(corners.scenes, corners.encoders(wrong), 1, "regions"), "accuracy_50"), 0);
  EXPECT_EQ(metric(ground_all(corners.scenes, corners.encoders(wrong), 1, "regions"), "pointing"), 0);
  // All alike: the first region, which is one phrase's of four.
  const auto blind = ground_all(corners.scenes, corners.encoders(at::full({4, 4}, 0.5)), 1, "regions");
  EXPECT_EQ(metric(blind, "accuracy_50"), 0.25);
  const auto lost = ground_all(corners.scenes, corners.encoders(at::full({4, 4}, NAN)), 1, "regions");
  EXPECT_EQ(metric(lost, "accuracy_30"), 0);
  EXPECT_EQ(metric(lost, "chance"), 0.25);
}

TEST(Grounding, BoxesOfActivationNeedNoRegions) {
  const Corners corners;
  auto encoders = corners.encoders(at::eye(4).index_select(0, corners.place_4));
  encoders.regions = {};
  const auto metrics = ground_all(corners.scenes, encoders, 1, "activation");
  EXPECT_EQ(metric(metrics, "accuracy_50"), 1);
  EXPECT_EQ(metric(metrics, "mean_iou"), 1);
  EXPECT_EQ(metric(metrics, "chance"), 0) << "the whole picture overlaps a quarter of it by 1/4";
  // A map that says nothing is the whole picture: what `chance` is.
  encoders.text = toy_texts(corners.phrases, at::full({4, 4}, 0.5));
  const auto blind = ground_all(corners.scenes, encoders, 1, "activation");
  EXPECT_EQ(metric(blind, "mean_iou"), 0.25);
  EXPECT_EQ(metric(blind, "accuracy_50"), 0);
}

TEST(Grounding, AnyOfTheObjectsThatAPhraseNamesWillDo) {
  Corners corners;
  corners.scenes.file["annotations"][1]["tokens_positive"] = corners.scenes.file["annotations"][0]["tokens_positive"];
  for (const int region : {0, 3}) {
    const auto metrics = ground_all(
        corners.scenes, corners.encoders(at::eye(4).index_select(0, at::tensor({region, 0, 1, 2}))), 1, "regions");
    EXPECT_EQ(metric(metrics, "accuracy_50"), 1);
    EXPECT_EQ(metric(metrics, "phrases"), 3);
    EXPECT_DOUBLE_EQ(metric(metrics, "chance"), (0.5 + 0.25 + 0.25) / 3);
  }
}

/// Pictures of all shapes with 0 to 5 phrases each, all different.
struct Drawn {
  Scenes scenes;
  std::vector<std::string> phrases;
  static constexpr std::int64_t kPictures = 39;

  Drawn() {
    RandomStream draws(random_key(7, Purpose::kTest, {31}));
    for (std::int64_t i = 0; i < kPictures; ++i)
      scenes.sizes.push_back({8 + static_cast<int>(draws.below(13)), 8 + static_cast<int>(draws.below(13))});
    scenes.file = boxes_file(scenes.sizes, {"thing"});
    scenes.broken = {5, 6, 7, 20};
    for (std::size_t i = 0; i < scenes.sizes.size(); ++i) {
      for (std::int64_t k = draws.below(6); k > 0; --k) {
        const auto& size = scenes.sizes[i];
        const double width = draws.uniform(2, 7), height = draws.uniform(2, 7);
        phrases.push_back("object " + std::to_string(phrases.size()) + " of picture " + std::to_string(i));
        add_object(scenes.file, i, 0,
                   {draws.uniform(0, size.width - width), draws.uniform(0, size.height - height), width, height},
                   phrases.back());
      }
    }
  }
};

/// The metrics of `regions` or, with a grid of cells, of `activation`, by loops over the file's annotations.
std::map<std::string, double> plain_grounding(const Drawn& drawn, const at::Tensor& text_Td,
                                              const at::Tensor& embedding_NMd, const at::Tensor& box_NM4,
                                              double threshold) {
  std::map<std::string, double> sums;
  std::set<std::int64_t> pictures;
  std::int64_t text = 0;
  for (const auto& object : drawn.scenes.file["annotations"]) {
    const auto picture = object["image_id"].get<std::int64_t>() - 100, own_text = text++;
    if (drawn.scenes.broken.contains(picture)) continue;
    const auto size = drawn.scenes.sizes[static_cast<std::size_t>(picture)];
    const RealBox pixels{object["bbox"][0], object["bbox"][1], object["bbox"][2], object["bbox"][3]};
    const auto whole = box_in_view(pixels, test_geometry(size, "crop", 8));
    const double left = std::max(0., whole.x), right = std::min(1., whole.x + whole.width);
    const double top = std::max(0., whole.y), bottom = std::min(1., whole.y + whole.height);
    const bool seen =
        right > left && bottom > top && (right - left) * (bottom - top) >= 0.5 * whole.width * whole.height;
    sums["dropped"] += !seen;
    if (!seen) continue;
    const RealBox truth{left, top, right - left, bottom - top};
    pictures.insert(picture);
    ++sums["phrases"];
    const auto cosine_M = embedding_NMd[picture].mv(text_Td[own_text]).to(at::kDouble);
    const auto* cosine = cosine_M.const_data_ptr<double>();
    const auto regions = embedding_NMd.size(1);
    RealBox chosen;
    if (box_NM4.defined()) {
      chosen = box_of(box_NM4, picture, cosine_M.argmax().item<std::int64_t>());
      double right_ones = 0;
      for (std::int64_t i = 0; i < regions; ++i) right_ones += box_iou(box_of(box_NM4, picture, i), truth) >= 0.5;
      sums["chance"] += right_ones / static_cast<double>(regions);
    } else {
      chosen = activation_box({cosine, static_cast<std::size_t>(regions)}, threshold);
      sums["chance"] += box_iou({0, 0, 1, 1}, truth) >= 0.5;
    }
    const double iou = box_iou(chosen, truth);
    sums["accuracy_50"] += iou >= 0.5;
    sums["accuracy_30"] += iou >= 0.3;
    sums["mean_iou"] += iou;
    sums["pointing"] += centre_inside(chosen, truth);
  }
  for (const auto* name : {"accuracy_50", "accuracy_30", "mean_iou", "pointing", "chance"})
    sums[name] /= sums["phrases"];
  sums["samples"] = static_cast<double>(pictures.size());
  sums["unusable"] = static_cast<double>(drawn.scenes.broken.size());
  return sums;
}

TEST(Grounding, AgainstPlainLoopsWithTheSameBitsOnAnyNumberOfRanks) {
  const Drawn drawn;
  const auto texts = static_cast<std::int64_t>(drawn.phrases.size());
  const auto text_Td = random_units(texts, 6, 1);
  const auto embedding_NMd = random_units(Drawn::kPictures * 9, 6, 2).view({Drawn::kPictures, 9, 6});
  const auto box_NM4 = random_corners(Drawn::kPictures, 9, 3);
  Encoders encoders{.image = {}, .text = toy_texts(drawn.phrases, text_Td), .classify = {}, .scale = {}};
  encoders.regions = toy_regions(box_NM4, embedding_NMd);
  encoders.patches = toy_images(embedding_NMd);
  for (const auto* proposals : {"regions", "activation"}) {
    const bool regions = proposals == std::string("regions");
    const double threshold = regions ? 0.5 : 0.8;
    const auto expected = plain_grounding(drawn, text_Td, embedding_NMd, regions ? box_NM4 : at::Tensor(), threshold);
    std::string first;
    for (const int ranks : {1, 2, 3}) {
      const auto metrics = ground_all(drawn.scenes, encoders, ranks, proposals, threshold);
      for (const auto& [name, value] : expected)
        EXPECT_NEAR(metric(metrics, name), value, 1e-12) << name << " of " << proposals << ", " << ranks << " ranks";
      if (first.empty()) first = exact_text(metrics);
      EXPECT_EQ(exact_text(metrics), first) << ranks << " ranks";
    }
    EXPECT_GT(expected.at("dropped"), 0);
    EXPECT_GT(expected.at("accuracy_30"), expected.at("accuracy_50"));
    EXPECT_GT(expected.at("accuracy_30"), 0);
  }
}

TEST(Grounding, RefusesAFileWithoutPhrasesAndAViewWithoutObjects) {
  Scenes scenes{{{16, 8}}, boxes_file({{16, 8}}, {"thing"}), {}};
  add_object(scenes.file, 0, 0, {0, 0, 3, 3});
  const Encoders none;
  EXPECT_THROW(ground_all(scenes, none, 1, "regions"), ConfigError);
  add_object(scenes.file, 0, 0, {0, 0, 3, 3}, "cut away");
  EXPECT_THROW(ground_all(scenes, none, 2, "regions"), DataBudgetError);
}

TEST(Grounding, SaysWhatItNeeds) {
  const Corners corners;
  const TempDir dir;
  GroundingConfig config;
  config.boxes = write_boxes(dir, corners.scenes.file);
  const auto made = [&] { return Grounding(config, std::make_unique<SizedCorpus>(corners.scenes.sizes), {}); };
  auto encoders = corners.encoders(at::eye(4));
  EXPECT_NO_THROW(check_served(made(), encoders, "test"));
  encoders.regions = {};
  EXPECT_THROW(check_served(made(), encoders, "test"), ConfigError);
  config.proposals = "activation";
  EXPECT_NO_THROW(check_served(made(), encoders, "test"));
  encoders.patches = {};
  EXPECT_THROW(check_served(made(), encoders, "test"), ConfigError);
}

TEST(GroundingConfig, RefusesKeysThatWouldDoNothing) {
  GroundingConfig config;
  EXPECT_THROW(config.validate(), FieldError);
  config.boxes = "boxes.json";
  EXPECT_NO_THROW(config.validate());
  config.threshold = 0.4;
  EXPECT_THROW(config.validate(), FieldError);
  config.proposals = "activation";
  EXPECT_NO_THROW(config.validate());
}

}  // namespace
}  // namespace triptych
