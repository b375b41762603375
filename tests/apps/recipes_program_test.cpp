// The published recipes under --dry-run, with made-up corpora in place of those that nobody may pass on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/apps/tiny_run.h"

namespace triptych {
namespace {

using testing::HasSubstr;

TEST(Recipes, EveryPublishedOneValidatesWithoutItsCorpora) {
  const TempDir dir;
  write_tiny_run(dir);
  const auto root = dir.path().string();
  const std::string labels =
      "{name: labels, kind: image_label, path: " + root + "/label.tar, class_names: " + root + "/classes.txt}";
  const std::string texts = "{name: texts, kind: image_text, path: " + root + "/text.tar}";
  const std::string phrased =
      "{name: texts, kind: image_text, path: " + root + "/text.tar, phrases: " + root + "/text.phrases}";
  int recipes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(source_path("configs/unicl"))) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with("swin_") && !name.starts_with("resnet")) continue;
    ++recipes;
    const bool joint = name.find("gcc15m") != std::string::npos || name.find("yfcc") != std::string::npos;
    const auto outcome = run_shell("triptych train " + entry.path().string() + " --dry-run --set 'data.corpora=[" +
                                   labels + (joint ? ", " + texts : "") + "]' --set eval=[]" +
                                   " --set train.global_batch=12 --set train.micro_batch=6 --set train.device=cpu");
    EXPECT_EQ(outcome.code, 0) << name << "\n" << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("image tower")) << name;
  }
  EXPECT_EQ(recipes, 5);
  const auto tcl = run_shell(
      "triptych train " + source_path("configs/tcl/pretrain.yaml") + " --dry-run --set 'data.corpora=[" + texts +
      "]' --set \"model.init_from.image=''\" --set \"model.init_from.text=''\" --set train.device=cpu"
      " --set train.global_batch=12 --set 'schedule.warmup={steps: 0}'");
  EXPECT_EQ(tcl.code, 0) << tcl.err;
  EXPECT_THAT(tcl.out, HasSubstr("objective             tcl"));
  const auto phrases = run_shell("triptych data phrases " + source_path("configs/loupe/published.yaml") +
                                 " --set 'data.corpora=[" + phrased + "]'");
  EXPECT_EQ(phrases.code, 0) << phrases.err;
  const auto loupe =
      run_shell("triptych train " + source_path("configs/loupe/published.yaml") + " --dry-run --set 'data.corpora=[" +
                phrased + "]' --set train.device=cpu --set train.global_batch=12");
  EXPECT_EQ(loupe.code, 0) << loupe.err;
  EXPECT_THAT(loupe.out, HasSubstr("objective             loupe"));
}

/// The quickstart, and all that its ablation trains.
TEST(Recipes, TclsShortRunsAndTheArmsOfTheAblationValidate) {
  const TempDir dir;
  write_tiny_run(dir);
  const std::string corpus = "{name: texts, kind: image_text, path: " + dir.path().string() + "/text.tar}";
  for (const std::string arm : {"quickstart.yaml", "ablation.yaml", "ablation.yaml --set objective.weights.lmi=0",
                                "ablation.yaml --set objective.weights.lmi=0 --set objective.weights.imc=0"}) {
    const auto outcome =
        run_shell("triptych train " + source_path("configs/tcl/") + arm + " --dry-run --set 'data.corpora=[" + corpus +
                  "]' --set eval=[]" + " --set train.global_batch=12 --set train.device=cpu" +
                  " --set 'schedule.warmup={steps: 1}'");
    EXPECT_EQ(outcome.code, 0) << arm << "\n" << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("objective             tcl")) << arm;
  }
}

}  // namespace
}  // namespace triptych
