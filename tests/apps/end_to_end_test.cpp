// A run from an empty folder to numbers, by the binary: train, eval, inspect, data, bench, on one and two ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/apps/run_json.h"
#include "tests/apps/tiny_run.h"

namespace triptych {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

std::vector<double> losses(const std::filesystem::path& metrics) {
  std::vector<double> values;
  std::ifstream file(metrics);
  for (std::string line; std::getline(file, line);) {
    const auto object = json::parse(line);
    if (object.contains("loss")) values.push_back(object["loss"]);
  }
  return values;
}

TEST(EndToEnd, TrainsEvaluatesAndInspectsOnOneAndTwoRanks) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto one = (dir / "one").string(), two = (dir / "two").string();

  const auto dry = run_shell("triptych train " + config + " --dry-run");
  EXPECT_EQ(dry.code, 0) << dry.err;
  EXPECT_THAT(dry.out, AllOf(HasSubstr("36"), HasSubstr("parameters"), HasSubstr("memory")));
  EXPECT_FALSE(std::filesystem::exists(dir / "runs")) << "--dry-run writes nothing";

  const auto trained = run_shell("triptych train " + config + " --run-dir " + one);
  ASSERT_EQ(trained.code, 0) << trained.err;
  const auto trained_two = run_shell("mpirun -np 2 triptych train " + config + " --run-dir " + two);
  ASSERT_EQ(trained_two.code, 0) << trained_two.err;
  const auto a = losses(dir / "one" / "metrics.jsonl"), b = losses(dir / "two" / "metrics.jsonl");
  ASSERT_EQ(a.size(), 4U);
  ASSERT_EQ(b.size(), 4U);
  for (std::size_t step = 0; step < 4; ++step) EXPECT_NEAR(a[step], b[step], 1e-4 * a[step]) << "step " << step;

  const auto from_run = run_json("triptych eval all --checkpoint " + one);
  EXPECT_EQ(from_run["step"], 4);
  EXPECT_EQ(from_run["zero_shot"]["samples"], 16);
  EXPECT_EQ(from_run["zero_shot"]["classes"], 3);
  EXPECT_EQ(from_run["retrieval"]["texts"], 20);
  auto on_two = run_json("mpirun -np 2 triptych eval all --checkpoint " + one + "/checkpoints/step_00000004");
  EXPECT_EQ(on_two["ranks"], 2);
  EXPECT_EQ(on_two["zero_shot"], from_run["zero_shot"]) << "the same numbers on any number of ranks";
  EXPECT_EQ(on_two["retrieval"], from_run["retrieval"]);

  const auto checkpoint = run_json("triptych inspect " + one + "/checkpoints/step_00000004");
  EXPECT_EQ(checkpoint["kind"], "checkpoint");
  EXPECT_EQ(checkpoint["step"], 4);
  EXPECT_EQ(checkpoint["samples_seen"], 48);
  const auto run = run_json("triptych inspect " + one);
  EXPECT_EQ(run["checkpoints"][0]["state"], "sound");
  EXPECT_EQ(run["last_metrics"]["step"], 4);
  // What the run measured at its end is what eval measures on its last checkpoint.
  for (const auto& row : run["evaluations"]) {
    EXPECT_EQ(row["value"].get<double>(),
              from_run[row["evaluation"].get<std::string>()][row["metric"].get<std::string>()].get<double>())
        << row.dump();
  }
  EXPECT_GE(run["evaluations"].size(), 10U);
}

TEST(EndToEnd, ARingOverMpiTrainsAsOneRankDoes) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto trained = [&](const std::string& name, int ranks) {
    const auto outcome = run_shell(
        "mpirun -np " + std::to_string(ranks) + " triptych train " + config + " --run-dir " + (dir / name).string() +
        " --set train.micro_batch=2 --set objective.exchange=" + name.substr(0, name.find('_')));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return losses(dir / name / "metrics.jsonl");
  };
  const auto alone = trained("gather", 1);
  ASSERT_EQ(alone.size(), 4U);
  for (const int ranks : {2, 3}) {
    const auto ring = trained("ring_" + std::to_string(ranks), ranks);
    ASSERT_EQ(ring.size(), 4U);
    for (std::size_t step = 0; step < 4; ++step) EXPECT_NEAR(ring[step], alone[step], 1e-4 * alone[step]) << step;
  }
}

/// DIR/NAME/steps.jsonl after a run of four steps over 24 virtual shards under mpirun.
std::string sharded_proof(const TempDir& dir, const std::string& config, const std::string& name, int ranks,
                          const std::string& settings = "") {
  const auto outcome = run_shell(
      "mpirun -np " + std::to_string(ranks) + " triptych train " + config + " --run-dir " + (dir / name).string() +
      " --set train.global_batch=24 --set train.micro_batch=0 --set eval=[] --set "
      "checkpoint.every.steps=1 --set log.step_record=true --set distributed.virtual_shards=24" +
      settings);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, testing::Not(HasSubstr("last bits"))) << "another number of ranks is no change";
  return slurp(dir / name / "steps.jsonl");
}

TEST(EndToEnd, VirtualShardsOverMpiGiveTheSameBytesOnAnyNumberOfRanks) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto one = sharded_proof(dir, config, "n1", 1);
  EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), 4);
  for (const int ranks : {2, 3, 4, 8}) {
    EXPECT_EQ(sharded_proof(dir, config, "n" + std::to_string(ranks), ranks), one) << ranks << " ranks";
  }
  // Four ranks up to step 1, then 2, 1 and 3, a step each, in the middle of an epoch of 36 samples.
  std::filesystem::copy(dir / "n4", dir / "walk", std::filesystem::copy_options::recursive);
  int step = 1;
  for (const int ranks : {2, 1, 3}) {
    for (int newer = step + 1; newer <= 4; ++newer)
      std::filesystem::remove_all(dir / "walk" / "checkpoints" / ("step_0000000" + std::to_string(newer)));
    EXPECT_EQ(sharded_proof(dir, config, "walk", ranks), one) << "from step " << step++ << " on " << ranks;
  }
  const std::string narrow =
      " --set train.precision=bf16 --set train.activation_checkpointing=true --set train.ema.decay=0.9 "
      "--set model.text='{type: bert, context: 16, width: 32, depth: 2, heads: 2}' --set model.image.drop_path=0.2";
  const auto alone = sharded_proof(dir, config, "narrow1", 1, narrow);
  EXPECT_NE(alone, one);
  for (const int ranks : {3, 8})
    EXPECT_EQ(sharded_proof(dir, config, "narrow" + std::to_string(ranks), ranks, narrow), alone) << ranks << " ranks";
  const auto refused = run_shell("mpirun -np 5 triptych train " + config +
                                 " --set train.global_batch=120 --set train.micro_batch=0 "
                                 "--set distributed.virtual_shards=24 --run-dir " +
                                 (dir / "five").string());
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("start one of 1, 2, 3, 4, 6, 8, 12, 24 ranks"));
}

TEST(EndToEnd, AHeadIsNotEvaluatedWithOtherClasses) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto corpus = "kind: image_label, path: \"" + (dir / "label.tar").string() +
                      "\", class_names: " + (dir / "classes.txt").string();
  const auto run = (dir / "run").string();
  const auto command = "triptych train " + config + " --run-dir " + run +
                       " --set objective.name=cross_entropy --set 'data.corpora=[{name: label, " + corpus +
                       "}]' --set 'eval=[{name: classify, corpus: {" + corpus + "}}]'";
  // There is no text tower here, so none takes memory.
  const auto memory = [&](const std::string& settings) {
    const auto table = run_shell(command + settings + " --dry-run").out;
    return table.substr(std::min(table.find("memory a rank"), table.size()), 60);
  };
  EXPECT_EQ(memory(" --set model.text.width=4096 --set model.text.depth=64"), memory(""));
  const auto trained = run_shell(command);
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(run_json("triptych eval classify --checkpoint " + run)["classify"]["samples"], 16);
  EXPECT_EQ(run_json("mpirun -np 2 triptych eval classify --checkpoint " + run)["classify"]["samples"], 16);
  spill(dir / "classes.txt", "green thing\nred thing\nblue thing\n");
  const auto resumed = run_shell(command + " --set schedule.total.steps=6 --allow-change schedule --allow-change data");
  EXPECT_EQ(resumed.code, 2);
  EXPECT_THAT(resumed.err, HasSubstr("the classes are not those of the checkpoint"));
  const auto refused = run_shell("triptych eval classify --checkpoint " + run);
  EXPECT_EQ(refused.code, 4);
  EXPECT_THAT(refused.err, HasSubstr("the training corpora name other classes now"));
}

TEST(EndToEnd, ModelsOfLabelsAloneAreEvaluatedByTheirFeatures) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto corpus = "kind: image_label, path: \"" + (dir / "label.tar").string() +
                      "\", class_names: " + (dir / "classes.txt").string();
  const std::string both = "{corpus: {" + corpus + "}, bank: {" + corpus + "}, ";
  const auto keys = " --set 'data.corpora=[{name: label, " + corpus + "}]' --set 'eval=[" + both +
                    "name: knn, k: 3}, " + both + "name: linear_probe}]'";
  for (const std::string model :
       {"objective.name=supcon", "objective.name=cross_entropy", "'model.text={type: label_embedding}'"}) {
    const auto run = (dir / std::to_string(std::hash<std::string>{}(model))).string();
    const auto trained = run_shell("triptych train " + config + keys + " --set " + model + " --run-dir " + run);
    ASSERT_EQ(trained.code, 0) << model << "\n" << trained.err;
    const auto one = run_json("triptych eval all --checkpoint " + run);
    EXPECT_EQ(one["knn"]["bank"], 16) << model;
    EXPECT_EQ(one["linear_probe"]["bank"], 16) << model;
    EXPECT_EQ(run_json("mpirun -np 2 triptych eval linear-probe --checkpoint " + run)["linear_probe"],
              one["linear_probe"]);
  }
}

TEST(EndToEnd, SeveralCaptionsAndBatchesOfOneCorpusTrainAlikeOnOneAndTwoRanks) {
  const TempDir dir;
  const auto keys = write_tiny_run(dir) +
                    " --set data.captions.all_positive=3 --set data.batch_sources=single --set data.mixing=weighted"
                    " --set data.epoch.corpus=text --set log.ledger=true --run-dir " +
                    dir.path().string();
  const auto one = run_shell("triptych train " + keys + "/one"),
             two = run_shell("mpirun -np 2 triptych train " + keys + "/two");
  ASSERT_EQ(one.code, 0) << one.err;
  ASSERT_EQ(two.code, 0) << two.err;
  const auto a = losses(dir / "one" / "metrics.jsonl"), b = losses(dir / "two" / "metrics.jsonl");
  ASSERT_EQ(a.size(), 4U);
  for (std::size_t step = 0; step < 4; ++step) EXPECT_NEAR(a[step], b[step], 1e-4 * a[step]) << "step " << step;
  EXPECT_EQ(slurp(dir / "one" / "ledger.jsonl"), slurp(dir / "two" / "ledger.jsonl"));
  // Epochs are those of a corpus that an evaluation does not open.
  EXPECT_EQ(run_json("triptych eval all --checkpoint " + (dir / "one").string())["step"], 4);
  const auto refused = run_shell("triptych train " + keys + "/three --set objective.name=supcon");
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("data.captions.all_positive"));
}

TEST(EndToEnd, EvalSaysWhatItCannotDo) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto run = (dir / "run").string();
  EXPECT_EQ(run_shell("triptych eval all --checkpoint " + run).code, 4);
  const auto trained = run_shell("triptych train " + config + " --run-dir " + run);
  ASSERT_EQ(trained.code, 0) << trained.err;
  const auto no_entry = run_shell("triptych eval knn --checkpoint " + run);
  EXPECT_EQ(no_entry.code, 2);
  EXPECT_THAT(no_entry.err, HasSubstr("knn"));

  // An evaluator that a contrastive objective cannot serve.
  const auto labels = dir.path().string();
  const auto refused =
      run_shell("triptych eval classify --checkpoint " + run + " " + config + " --set eval.0.name=classify" +
                " --set eval.0.corpus.kind=image_label --set eval.0.corpus.path=" + labels + "/label.tar" +
                " --set eval.0.corpus.class_names=" + labels + "/classes.txt");
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("classify"), HasSubstr("unicl")));

  // A flipped byte is found before anything is measured; the run's older checkpoint serves instead.
  const auto newest = dir / "run" / "checkpoints" / "step_00000004";
  auto bytes = slurp(newest / "model.safetensors");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  spill(newest / "model.safetensors", bytes);
  EXPECT_EQ(run_shell("triptych eval all --checkpoint " + newest.string()).code, 4);
  EXPECT_EQ(run_shell("triptych inspect " + newest.string()).code, 4);
  EXPECT_EQ(run_json("triptych eval all --checkpoint " + run)["step"], 2);
}

TEST(EndToEnd, DataCommandsAgreeWithTheCorpora) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto index = run_json("triptych data index " + config);
  EXPECT_EQ(index["corpora"][0]["records"], 20);
  EXPECT_EQ(index["corpora"].size(), 4U) << "two of training, two of eval";
  const auto stats = run_json("triptych data stats " + config + " --corpus label");
  EXPECT_EQ(stats["label"]["largest_class_records"], 6);
  const auto shown = run_json("triptych data show " + config + " --corpus text --first 3 --count 2");
  EXPECT_EQ(shown["text"][0]["text"], "a picture with the number 3");
  EXPECT_EQ(shown["text"].size(), 2U);
  const auto verified = run_json("mpirun -np 2 triptych data verify " + config);
  EXPECT_EQ(verified["unusable"], 0);
  EXPECT_EQ(verified["corpora"][0]["records"], 20);
  const auto wrong = run_shell("triptych data stats " + config + " --corpus txt");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("text, label"));

  const auto shard = run_json("triptych inspect " + (dir / "text.tar").string());
  EXPECT_EQ(shard["records"], 20);
  EXPECT_EQ(shard["first_records"][0]["text"], "a picture with the number 0");
  // A picture that is none is found, named and counted.
  auto bytes = slurp(dir / "text.tar");
  bytes.replace(bytes.find("RIFF"), 4, "JUNK");
  spill(dir / "text.tar", bytes);
  const auto damaged = run_json("triptych data verify " + config + " --corpus text");
  EXPECT_EQ(damaged["unusable"], 1);
  EXPECT_EQ(damaged["bad_records"][0]["key"], "1000");
}

TEST(EndToEnd, DataPhrasesWritesExportsAndImports) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto file = (dir / "text.phrases").string(), lines = (dir / "lines.jsonl").string();
  const auto command = "triptych data phrases " + config + " --corpus text --set data.corpora.0.phrases=" + file;
  const auto found = run_json(command + " --threads 1")["phrases"][0];
  EXPECT_EQ(found["records"], 20);
  EXPECT_GE(found["phrases"], 20);
  EXPECT_EQ(run_json(command)["phrases"][0]["kept"], 20) << "complete: nothing to do";
  EXPECT_EQ(run_json(command + " --export " + lines)["captions"][0]["captions"], 20);
  spill(lines, R"({"record": 3, "phrases": [[[0, 9]]]})");
  const auto refused = run_shell(command + " --import " + lines);
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("text.phrases"), HasSubstr("--overwrite")));
  const auto imported = run_json(command + " --overwrite --import " + lines)["phrases"][0];
  EXPECT_EQ(imported["phrases"], 1);
  const auto concepts = run_json("triptych data concepts " + config + " --phrases --more-than 0 --corpus text" +
                                 " --set data.corpora.0.phrases=" + file);
  EXPECT_EQ(concepts["counts"][0]["concept"], "picture") << "19 records have no line, which is no error";
  EXPECT_EQ(concepts["counts"][0]["occurrences"], 1);
  EXPECT_EQ(run_shell(command).code, 2) << "the import is not parsed over";
  spill(lines, R"({"record": 3, "phrases": [[[0, 99]]]})");
  const auto wrong = run_shell(command + " --overwrite --import " + lines);
  EXPECT_EQ(wrong.code, 3);
  EXPECT_THAT(wrong.err, HasSubstr("lines.jsonl:1"));
  const auto no_file = run_shell("triptych data phrases " + config);
  EXPECT_EQ(no_file.code, 2);
  EXPECT_THAT(no_file.err, HasSubstr("phrases="));
  EXPECT_EQ(run_shell("triptych data stats " + config + " --import lines.jsonl").code, 2);
}

TEST(EndToEnd, BenchesGiveFigures) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto loader = run_json("triptych bench loader " + config + " --seconds 0.3 --batch 8");
  EXPECT_GT(loader["samples_per_s"].get<double>(), 0);
  EXPECT_EQ(loader["stages"].size(), 6U);
  const auto loss = run_json("triptych bench loss " + config + " --seconds 0.1 --batch 32");
  EXPECT_EQ(loss["loss"][0]["local_rows"], 32);
  const auto step = run_json("triptych bench step " + config + " --seconds 0.1");
  EXPECT_GE(step["steps"].get<int>(), 2);
  EXPECT_EQ(step["global_batch"], 12);
  EXPECT_FALSE(step.contains("virtual_shards"));
  const auto sharded = run_json("triptych bench step " + config +
                                " --seconds 0.1 --set train.micro_batch=0 --set distributed.virtual_shards=4");
  EXPECT_EQ(sharded["micro_batch"], 3);
  EXPECT_EQ(sharded["virtual_shards"]["micro_batch_without"], 12);
  EXPECT_GT(sharded["virtual_shards"]["ratio"].get<double>(), 0);
  const auto scratch = (dir / "scratch").string();
  std::filesystem::create_directory(scratch);
  const auto index = run_json("env TMPDIR=" + scratch + " triptych bench index --records 25000");
  EXPECT_EQ(index["records"], 25000);
  EXPECT_EQ(index["shards"], 3);
  EXPECT_GT(index["start_s"].get<double>(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(scratch)) << "what was made up is gone";
  EXPECT_EQ(run_shell("triptych bench index " + config).code, 2) << "it takes no configuration";
}

}  // namespace
}  // namespace triptych
