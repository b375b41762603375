// Detection with region heads that know the answer, its opposite or nothing, and against plain loops.
#include "core/eval/detection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/eval/activation_boxes.h"
#include "core/eval/box_metrics.h"
#include "tests/eval/boxed_corpus.h"
#include "tests/support/thread_ranks.h"

namespace triptych {
namespace {

using testing::HasSubstr;

struct DetectionScenes {
  std::vector<Size> sizes;
  nlohmann::json file;
  std::set<std::int64_t> broken;
};

std::vector<Metric> detect_all(const DetectionScenes& scenes, const Encoders& encoders, int ranks,
                               DetectionConfig config) {
  const TempDir dir;
  config.boxes = write_boxes(dir, scenes.file);
  std::vector<Metric> result;
  run_ranks(ranks, [&](Collectives& comm) {
    Detection detection(config, std::make_unique<SizedCorpus>(scenes.sizes, scenes.broken), {});
    auto scope = toy_scope(comm, 4);
    const auto metrics = detection.run(encoders, scope);
    EXPECT_EQ(names_of(metrics), detection.metric_names());
    if (comm.rank() == ranks - 1) result = metrics;
  });
  return result;
}

std::vector<std::string> class_texts(const std::vector<std::string>& names) {
  std::vector<std::string> texts;
  for (const auto& name : names) texts.push_back("an image of " + name);
  return texts;
}

/// Two pictures with an object in two corners each; four regions a picture: the corners.
struct Quarters {
  DetectionScenes scenes;
  std::vector<std::string> names = {"cat", "dog", "unicorn"};
  at::Tensor box_NM4;

  Quarters() {
    scenes.sizes = {{8, 8}, {8, 8}};
    scenes.file = boxes_file(scenes.sizes, names);
    add_object(scenes.file, 0, 0, {0, 0, 4, 4});
    add_object(scenes.file, 0, 1, {4, 4, 4, 4});
    add_object(scenes.file, 1, 1, {4, 0, 4, 4});
    add_object(scenes.file, 1, 1, {0, 4, 4, 4});
    box_NM4 = at::tensor({0., 0., .5, .5, .5, 0., 1., .5, 0., .5, .5, 1., .5, .5, 1., 1.}, at::kFloat)
                  .view({1, 4, 4})
                  .expand({2, 4, 4});
  }
  /// Of which class the regions of both pictures are; 3: of none.
  Encoders encoders(const std::vector<std::int64_t>& classes_8) const {
    Encoders made{
        .image = {}, .text = toy_texts(class_texts(names), at::eye(4).slice(0, 0, 3)), .classify = {}, .scale = {}};
    const auto embedding_NMd = at::eye(4).index_select(0, at::tensor(classes_8, at::kLong)).view({2, 4, 4});
    made.regions = toy_regions(box_NM4, embedding_NMd);
    made.patches = toy_images(embedding_NMd);
    return made;
  }
};

const std::vector<std::int64_t> kTruth = {0, 3, 3, 1, 3, 1, 1, 3};

TEST(Detection, FindsWhatTheRegionsKnow) {
  const Quarters quarters;
  const auto metrics = detect_all(quarters.scenes, quarters.encoders(kTruth), 1, {});
  EXPECT_EQ(metric(metrics, "map_50"), 1) << "detections of a class behind its objects cost nothing";
  EXPECT_EQ(metric(metrics, "map_30"), 1);
  EXPECT_EQ(metric(metrics, "samples"), 2);
  EXPECT_EQ(metric(metrics, "instances"), 4);
  EXPECT_EQ(metric(metrics, "classes"), 3);
  EXPECT_EQ(metric(metrics, "present_classes"), 2);
}

TEST(Detection, OfTheWrongClassesFindsLittleAndOfNoNumbersNothing) {
  const Quarters quarters;
  const std::vector<std::int64_t> wrong = {1, 0, 0, 0, 0, 0, 0, 1};
  EXPECT_LT(metric(detect_all(quarters.scenes, quarters.encoders(wrong), 1, {}), "map_50"), 0.4);
  auto lost = quarters.encoders(kTruth);
  lost.text = toy_texts(class_texts(quarters.names), at::full({3, 4}, NAN));
  EXPECT_EQ(metric(detect_all(quarters.scenes, lost, 1, {}), "map_30"), 0);
}

TEST(Detection, KeepsTheBestOfAPictureOnly) {
  const Quarters quarters;
  DetectionConfig config;
  config.most = 1;  // of two objects a picture, one is left: cat 1/1, dog 1/3
  const auto metrics = detect_all(quarters.scenes, quarters.encoders(kTruth), 1, config);
  EXPECT_NEAR(metric(metrics, "map_50"), (1 + 34.0 / 101) / 2, 1e-12);
}

TEST(Detection, BoxesOfActivationAreOneAClass) {
  const Quarters quarters;
  DetectionConfig config;
  config.proposals = "activation";
  auto encoders = quarters.encoders(kTruth);
  encoders.regions = {};
  const auto metrics = detect_all(quarters.scenes, encoders, 1, config);
  // Cat: right in picture 0; a map without cats is the whole picture, with a lower score. Dog: one of three objects in
  // picture 0, one of the two in picture 1.
  EXPECT_NEAR(metric(metrics, "map_50"), (1 + 67.0 / 101) / 2, 1e-12);
}

TEST(Detection, CrowdsAreNeitherFoundNorMissed) {
  Quarters quarters;
  const auto without = detect_all(quarters.scenes, quarters.encoders({0, 0, 3, 1, 3, 1, 1, 3}), 1, {});
  EXPECT_EQ(metric(without, "map_50"), 1) << "equal scores: the first region is first";
  const auto behind = quarters.encoders({0, 3, 3, 1, 0, 1, 1, 3});
  auto shifted = quarters.scenes;
  shifted.file["annotations"][0]["bbox"] = {4, 0, 4, 4};  // the cat is where nothing looks like one
  EXPECT_LT(metric(detect_all(shifted, behind, 1, {}), "map_50"), 1);
  // Both places that look like a cat become crowds.
  add_object(shifted.file, 0, 0, {0, 0, 4, 4}, "", /*crowd=*/true);
  add_object(shifted.file, 1, 0, {0, 0, 8, 8}, "", /*crowd=*/true);
  const auto crowds = detect_all(shifted, behind, 1, {});
  EXPECT_EQ(metric(crowds, "map_50"), 1);
  EXPECT_EQ(metric(crowds, "instances"), 4);
}

/// Pictures of all shapes with objects of 4 classes, some of them crowds.
struct DrawnObjects {
  DetectionScenes scenes;
  std::vector<std::string> names = {"cat", "dog", "car", "tree", "unicorn"};
  static constexpr std::int64_t kPictures = 21, kRegions = 16;

  DrawnObjects() {
    RandomStream draws(random_key(7, Purpose::kTest, {41}));
    for (std::int64_t i = 0; i < kPictures; ++i)
      scenes.sizes.push_back({8 + static_cast<int>(draws.below(7)), 8 + static_cast<int>(draws.below(7))});
    scenes.file = boxes_file(scenes.sizes, names);
    scenes.broken = {0, 9, 10, 11};
    for (std::size_t i = 0; i < scenes.sizes.size(); ++i) {
      for (std::int64_t k = draws.below(6); k > 0; --k) {
        const auto& size = scenes.sizes[i];
        const double width = draws.uniform(2, 7), height = draws.uniform(2, 7);
        const auto category = static_cast<std::size_t>(draws.below(4));
        add_object(scenes.file, i, category,
                   {draws.uniform(0, size.width - width), draws.uniform(0, size.height - height), width, height}, "",
                   draws.uniform() < 0.2);
      }
    }
  }
};

struct PlainDetection {
  double score;
  std::size_t category;
  RealBox box;
};

/// The same by loops over pictures and classes; what box_metrics_test.cpp proves is taken from box_metrics.h.
std::map<std::string, double> plain_detection(const DrawnObjects& drawn, const at::Tensor& text_Cd,
                                              const at::Tensor& embedding_NMd, const at::Tensor& box_NM4,
                                              const DetectionConfig& config, double scale) {
  const std::size_t classes = drawn.names.size();
  std::vector<std::vector<Judged>> judged_50(classes), judged_30(classes);
  std::vector<std::int64_t> positives(classes, 0);
  std::map<std::string, double> result;
  for (std::int64_t picture = 0; picture < DrawnObjects::kPictures; ++picture) {
    if (drawn.scenes.broken.contains(picture)) continue;
    ++result["samples"];
    const auto size = drawn.scenes.sizes[static_cast<std::size_t>(picture)];
    std::vector<std::vector<Truth>> truths(classes);
    for (const auto& object : drawn.scenes.file["annotations"]) {
      if (object["image_id"] != picture + 100) continue;
      const RealBox pixels{object["bbox"][0], object["bbox"][1], object["bbox"][2], object["bbox"][3]};
      const auto whole = box_in_view(pixels, test_geometry(size, "crop", 8));
      const double left = std::max(0., whole.x), right = std::min(1., whole.x + whole.width);
      const double top = std::max(0., whole.y), bottom = std::min(1., whole.y + whole.height);
      const bool seen =
          right > left && bottom > top && (right - left) * (bottom - top) >= 0.5 * whole.width * whole.height;
      result["dropped"] += !seen;
      if (!seen) continue;
      const auto category = static_cast<std::size_t>(50 - object["category_id"].get<int>());
      truths[category].push_back({{left, top, right - left, bottom - top}, object["iscrowd"] == 1});
      positives[category] += object["iscrowd"] == 0;
    }
    const auto cosine_CM = text_Cd.mm(embedding_NMd[picture].t()).to(at::kDouble).contiguous();
    const auto score_CM = config.score == "softmax" ? (cosine_CM * scale).softmax(0).contiguous() : cosine_CM;
    std::vector<PlainDetection> found;
    for (std::size_t category = 0; category < classes; ++category) {
      const auto row = static_cast<std::int64_t>(category);
      if (config.proposals == "activation") {
        const auto best = cosine_CM[row].argmax().item<std::int64_t>();
        const std::span map(cosine_CM.const_data_ptr<double>() + row * DrawnObjects::kRegions, DrawnObjects::kRegions);
        found.push_back({score_CM[row][best].item<double>(), category, activation_box(map, config.threshold)});
        continue;
      }
      std::vector<PlainDetection> kept;
      const auto order_M = std::get<1>(score_CM[row].sort(/*stable=*/true, 0, /*descending=*/true));
      for (std::int64_t i = 0; i < DrawnObjects::kRegions; ++i) {
        const auto region = order_M[i].item<std::int64_t>();
        const PlainDetection one{score_CM[row][region].item<double>(), category, box_of(box_NM4, picture, region)};
        bool repeated = false;
        for (const auto& better : kept) repeated = repeated || box_iou(better.box, one.box) > config.nms;
        if (!repeated) kept.push_back(one);
      }
      found.insert(found.end(), kept.begin(), kept.end());
    }
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.score > b.score; });
    while (static_cast<std::int64_t>(found.size()) > config.most) found.pop_back();
    for (std::size_t category = 0; category < classes; ++category) {
      std::vector<RealBox> boxes;
      std::vector<double> scores;
      for (const auto& one : found) {
        if (one.category != category) continue;
        boxes.push_back(one.box);
        scores.push_back(one.score);
      }
      const auto at_50 = match_boxes(boxes, truths[category], 0.5), at_30 = match_boxes(boxes, truths[category], 0.3);
      for (std::size_t i = 0; i < boxes.size(); ++i) {
        judged_50[category].push_back({scores[i], at_50[i]});
        judged_30[category].push_back({scores[i], at_30[i]});
      }
    }
  }
  for (std::size_t category = 0; category < classes; ++category) {
    result["instances"] += static_cast<double>(positives[category]);
    if (positives[category] == 0) continue;
    ++result["present_classes"];
    result["map_50"] += *average_precision(judged_50[category], positives[category]);
    result["map_30"] += *average_precision(judged_30[category], positives[category]);
  }
  result["map_50"] /= result["present_classes"];
  result["map_30"] /= result["present_classes"];
  result["classes"] = static_cast<double>(classes);
  result["unusable"] = static_cast<double>(drawn.scenes.broken.size());
  return result;
}

TEST(Detection, AgainstPlainLoopsWithTheSameBitsOnAnyNumberOfRanks) {
  const DrawnObjects drawn;
  constexpr double kScale = 7;
  const auto text_Cd = random_units(5, 6, 1);
  const auto embedding_NMd = random_units(DrawnObjects::kPictures * DrawnObjects::kRegions, 6, 2)
                                 .view({DrawnObjects::kPictures, DrawnObjects::kRegions, 6});
  const auto box_NM4 = random_corners(DrawnObjects::kPictures, DrawnObjects::kRegions, 3);
  Encoders encoders{.image = {}, .text = toy_texts(class_texts(drawn.names), text_Cd), .classify = {}, .scale = {}};
  encoders.scale = at::scalar_tensor(kScale);
  encoders.regions = toy_regions(box_NM4, embedding_NMd);
  encoders.patches = toy_images(embedding_NMd);

  std::vector<DetectionConfig> configs(5);
  configs[1].score = "softmax";
  configs[2].proposals = "activation";
  configs[2].threshold = 0.7;
  configs[3].most = 12;
  configs[4].nms = 0.2;
  std::set<double> different;
  for (const auto& config : configs) {
    const auto expected = plain_detection(drawn, text_Cd, embedding_NMd, box_NM4, config, kScale);
    std::string first;
    for (const int ranks : {1, 2, 3}) {
      const auto metrics = detect_all(drawn.scenes, encoders, ranks, config);
      // The evaluator normalises class embeddings again: scores differ in their last bits.
      for (const auto& [name, value] : expected)
        EXPECT_NEAR(metric(metrics, name), value, 1e-12) << name << ", configuration " << &config - configs.data();
      if (first.empty()) first = exact_text(metrics);
      EXPECT_EQ(exact_text(metrics), first) << ranks << " ranks";
    }
    different.insert(expected.at("map_30"));
    EXPECT_GT(expected.at("map_30"), 0);
    EXPECT_GT(expected.at("map_30"), expected.at("map_50"));
  }
  EXPECT_EQ(different.size(), configs.size()) << "every setting must matter";
}

std::string refusal_of_detection(const DetectionScenes& scenes, const DetectionConfig& config,
                                 const Encoders& encoders = {}) {
  try {
    detect_all(scenes, encoders, 1, config);
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was refused";
}

TEST(Detection, RefusesWhatCannotBeMeasured) {
  const Quarters quarters;
  DetectionConfig config;
  config.score = "softmax";
  EXPECT_THAT(refusal_of_detection(quarters.scenes, config, quarters.encoders(kTruth)), HasSubstr("use score: cosine"));
  config = {};
  config.prompts = "{} and {}";
  EXPECT_THAT(refusal_of_detection(quarters.scenes, config), HasSubstr("exactly one {}"));
  config.prompts = "no-such-file";
  EXPECT_THAT(refusal_of_detection(quarters.scenes, config), HasSubstr("cannot read no-such-file"));
  DetectionScenes crowds{{{8, 8}}, boxes_file({{8, 8}}, {"cat"}), {}};
  add_object(crowds.file, 0, 0, {0, 0, 4, 4}, "", /*crowd=*/true);
  EXPECT_THAT(refusal_of_detection(crowds, {}), HasSubstr("but crowds"));
  DetectionScenes cut{{{16, 8}}, boxes_file({{16, 8}}, {"cat"}), {}};
  add_object(cut.file, 0, 0, {0, 0, 4, 4});
  Encoders encoders{.image = {}, .text = toy_texts({"an image of cat"}, at::eye(1)), .classify = {}, .scale = {}};
  encoders.regions = toy_regions(random_corners(1, 2, 1), at::ones({1, 2, 1}));
  EXPECT_THAT(refusal_of_detection(cut, {}, encoders), HasSubstr("1 objects are cut away"));
}

TEST(DetectionConfig, RefusesKeysThatWouldDoNothing) {
  DetectionConfig config;
  EXPECT_THROW(config.validate(), FieldError);
  config.boxes = "boxes.json";
  EXPECT_NO_THROW(config.validate());
  config.threshold = 0.4;
  EXPECT_THROW(config.validate(), FieldError);
  config.proposals = "activation";
  EXPECT_NO_THROW(config.validate());
  config.nms = 0.6;
  EXPECT_THROW(config.validate(), FieldError);
}

}  // namespace
}  // namespace triptych
