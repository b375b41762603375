// `triptych plan` as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/apps/run_json.h"

namespace triptych {
namespace {

using testing::HasSubstr;

constexpr const char* kModel =
    "triptych plan configs/models/vit_b32.yaml --set 'objective={name: clip}' "
    "--set 'data.corpora=[{name: none, kind: image_text, path: none.tar}]' ";

TEST(Plan, OpensNoCorpusAndNeedsNoDevice) {
  const auto plan = run_json(std::string(kModel) + "--set train.global_batch=32768 --ranks 64 --device h100");
  ASSERT_TRUE(plan.is_object());
  EXPECT_EQ(plan["parameters"]["trained"], 151277313);  // OpenCLIP's ViT-B-32
  EXPECT_EQ(plan["local_batch"], 512);
  EXPECT_TRUE(plan["fits"]);
  std::vector<std::string> exchanges;
  for (const auto& exchange : plan["exchanges_a_step"]) exchanges.push_back(exchange["what"]);
  EXPECT_THAT(exchanges, testing::ElementsAre("embeddings", "log-sum-exps and labels", "gradients"));
  double parts = 0;
  for (const auto& [part, mib] : plan["mib_a_rank"].items()) {
    if (part != "total" && part != "available") parts += mib.get<double>();
  }
  EXPECT_NEAR(parts, plan["mib_a_rank"]["total"], 0.01 * parts);
}

TEST(Plan, ARingHoldsLessAndSendsTwice) {
  const std::string command = std::string(kModel) + "--set train.global_batch=262144 --ranks 512 --device h100";
  const auto gather = run_json(command), ring = run_json(command + " --set objective.exchange=ring");
  EXPECT_LT(ring["mib_a_rank"]["loss"], gather["mib_a_rank"]["loss"]);
  const double once = gather["exchanges_a_step"][0]["mib_sent"];
  EXPECT_NEAR(ring["exchanges_a_step"][0]["mib_sent"], 2 * once, 0.01 * once);
}

TEST(Plan, SaysWhatDoesNotFit) {
  const auto plan = run_json(std::string(kModel) + "--set train.global_batch=65536 --ranks 1 --device a100");
  EXPECT_FALSE(plan["fits"]);
  EXPECT_GT(plan["largest_micro_batch"], 1);
  EXPECT_LT(plan["largest_micro_batch"], 65536);
}

TEST(Plan, RefusesWhatItCannotPlan) {
  const auto device = run_shell(std::string(kModel) + "--ranks 1 --device v100");
  EXPECT_EQ(device.code, 2);
  EXPECT_THAT(device.err, HasSubstr("--device"));
  const auto batch = run_shell(std::string(kModel) + "--set train.global_batch=100 --ranks 3 --device cpu");
  EXPECT_EQ(batch.code, 2);
  EXPECT_THAT(batch.err, HasSubstr("train.global_batch"));
  const auto tokens = run_shell(std::string(kModel) + "--ranks 1 --device cpu --text-tokens 78");
  EXPECT_EQ(tokens.code, 2);
  EXPECT_THAT(tokens.err, HasSubstr("model.text.context is 77"));
}

}  // namespace
}  // namespace triptych
