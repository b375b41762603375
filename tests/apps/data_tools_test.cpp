// pack, filter, concepts, stats, show and verify by the binary, on the tiny run's corpora.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/apps/run_json.h"
#include "tests/apps/tiny_run.h"

namespace triptych {
namespace {

std::filesystem::path find_file(const std::filesystem::path& folder, const std::string& name) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().filename() == name) return entry.path();
  }
  return folder / name;
}

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

TEST(DataTools, PackedCorpusTakesThePlaceOfItsSource) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto out = (dir / "packed").string();
  const auto command = "triptych data pack " + config + " --corpus label --out " + out + " --resize 24 --shard-size 6";
  const auto packed = run_json(command);
  EXPECT_EQ(packed["records"], 16);
  EXPECT_EQ(packed["written"], 16);
  EXPECT_EQ(packed["shards"], 3);
  EXPECT_EQ(packed["resized"], 16);
  const auto again = run_json(command);
  EXPECT_EQ(again["shards_found"], 3);
  EXPECT_EQ(again["resized"], 0);
  EXPECT_THAT(again["note"].get<std::string>(), HasSubstr("not the 3 shards found"));
  EXPECT_FALSE(packed.contains("note"));

  const auto place = " --set data.corpora.1.path='" + packed["path"].get<std::string>() +
                     "' --set data.corpora.1.class_names=" + packed["class_names"].get<std::string>();
  const auto stats = run_json("triptych data stats " + config + place + " --corpus label")["label"];
  EXPECT_EQ(stats["records"], 16);
  EXPECT_EQ(stats["unusable"], 0);
  EXPECT_EQ(stats["largest_class_records"], 6);
  EXPECT_EQ(stats["spread"][1]["of"], "height");
  EXPECT_EQ(stats["spread"][1]["most"], 24);

  const auto several = run_shell("triptych data pack " + config + " --out " + out);
  EXPECT_EQ(several.code, 2);
  EXPECT_THAT(several.err, HasSubstr("--corpus: text, label"));
  const auto quality = run_shell("triptych data pack " + config + " --corpus text --quality 80 --out " + out + "2");
  EXPECT_EQ(quality.code, 2);
  EXPECT_THAT(quality.err, HasSubstr("--resize"));
  const auto other = run_shell("triptych data pack " + config + " --corpus text --out " + out);
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("another pack"));
}

TEST(DataTools, FilteredCorpusIsWhatTheKeepListSays) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto keep = (dir / "text.keep").string();
  spill(dir / "rules.yaml",
        "rules:\n  - {name: words, fewest: 3}\n  - {name: duplicate_captions}\n  - {name: near_duplicates}\n");
  const auto command =
      "triptych data filter " + config + " --corpus text --rules " + (dir / "rules.yaml").string() + " --out " + keep;
  const auto filtered = run_json(command);
  EXPECT_EQ(filtered["records"], 20);
  EXPECT_EQ(filtered["rules"][0]["removed"], 0);
  EXPECT_EQ(filtered["rules"][1]["removed"], 0);
  EXPECT_GT(filtered["rules"][2]["removed"].get<int>(), 0) << "frames around one colour look alike";
  const auto kept = filtered["kept"].get<int>();
  EXPECT_EQ(kept + filtered["rules"][2]["removed"].get<int>(), 20);
  ASSERT_GT(kept, 0);

  const auto listed = config + " --set data.corpora.0.keep_list=" + keep;
  const auto index = run_json("triptych data index " + listed);
  EXPECT_EQ(index["corpora"][0]["records"], kept);
  EXPECT_EQ(index["corpora"][1]["records"], 16);
  EXPECT_EQ(run_json(command + " --set data.corpora.0.keep_list=" + keep)["records"], 20)
      << "the source is filtered, also where it has a list already";
  const auto trained = run_shell("triptych train " + listed + " --dry-run");
  EXPECT_EQ(trained.code, 0) << trained.err;
  EXPECT_THAT(trained.out, HasSubstr(std::to_string(16 + kept)));
  const auto wrong = run_shell("triptych data index " + config + " --set data.corpora.1.keep_list=" + keep);
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, AllOf(HasSubstr("corpus label"), HasSubstr("keep_list"), HasSubstr("fingerprint")));
  const auto typo =
      run_shell("triptych data filter " + config + " --corpus text --out x --rules " + (dir / "run.yaml").string());
  EXPECT_EQ(typo.code, 2);
  EXPECT_THAT(typo.err, AllOf(HasSubstr("run.yaml:1"), HasSubstr("rules")));
}

TEST(DataTools, PageAndPictureAreWritten) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto table = run_shell("triptych data stats " + config + " --html " + (dir / "page.html").string());
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_THAT(table.out, AllOf(HasSubstr("label: classes_by_size"), HasSubstr("caption words")));
  EXPECT_THAT(slurp(dir / "page.html"), AllOf(HasSubstr("<h2>text</h2>"), HasSubstr("data:image/jpeg;base64,")));
  const auto shown =
      run_json("triptych data show " + config + " --corpus text --first 7 --png " + (dir / "p.png").string());
  EXPECT_EQ(shown["captions"][0]["text"], "a picture with the number 7");
  EXPECT_EQ(shown["width"], 40);
  EXPECT_EQ(slurp(dir / "p.png").substr(1, 3), "PNG");
  EXPECT_EQ(run_shell("triptych data show " + config + " --corpus text --first 20 --png x").code, 2);
}

TEST(DataTools, ShowNamesTheRecordsThatAStepTrainsOn) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto run = run_shell("triptych train " + config + " --set log.ledger=true --set schedule.total='{steps: 3}'");
  ASSERT_EQ(run.code, 0) << run.err;
  std::map<std::int64_t, json> used;
  std::istringstream lines(slurp(find_file(dir.path(), "ledger.jsonl")));
  for (std::string line; std::getline(lines, line);) {
    const auto entry = json::parse(line);
    used[entry["position"]] = entry;
  }
  const auto batch = run_json("triptych data show " + config + " --step 3")["step 3"];
  ASSERT_EQ(batch.size() * 3, used.size());
  for (const auto& row : batch) {
    const auto& entry = used.at(row["position"]);
    if (entry["replacement"]) continue;
    EXPECT_EQ(row["corpus"], entry["corpus"]) << row;
    EXPECT_EQ(row["record"], entry["record"]) << row;
  }
  EXPECT_EQ(run_shell("triptych data show " + config + " --step 0").code, 2);
  EXPECT_EQ(run_shell("triptych data show " + config + " --step 1 --first 2").code, 2);
}

TEST(DataTools, ShowEscapesWhatSteersTerminalsAndEndsAtTheLastRecord) {
  const TempDir dir, scratch;
  const auto config = write_tiny_run(dir);
  const std::string caption = "red \x1b[31mcaption\nof two lines " + std::string(300, 'x');
  spill(scratch / "a.webp", made_up_picture(1));
  spill(scratch / "a.txt", caption);
  const auto shard = (dir / "steer\x1b[2J.tar").string();
  ASSERT_EQ(std::system(("cd " + scratch.path().string() + " && tar -cf '" + shard + "' *").c_str()), 0);
  const auto command = "triptych data show " + config + " --corpus text --set data.corpora.0.path='" +
                       (dir / "steer*.tar").string() + "'";
  for (const auto& shown : {run_shell(command), run_shell(command + " --png " + (dir / "p.png").string())}) {
    EXPECT_EQ(shown.code, 0) << shown.err;
    EXPECT_EQ((shown.out + shown.err).find('\x1b'), std::string::npos) << shown.out << shown.err;
    EXPECT_THAT(shown.out, HasSubstr("red \\x1b[31mcaption\\nof two lines " + std::string(300, 'x')));
    EXPECT_THAT(shown.out, HasSubstr("steer\\x1b[2J.tar"));
  }
  EXPECT_EQ(run_json(command)["text"][0]["text"], caption);
  const auto beyond = run_shell("triptych data show " + config + " --corpus label --first 16");
  EXPECT_EQ(beyond.code, 2);
  EXPECT_THAT(beyond.err, HasSubstr("--first 16: corpus label has 16 records"));
  EXPECT_EQ(run_shell("triptych data show " + config + " --corpus label --first 15").code, 0);
}

TEST(DataTools, ConceptsAreCounted) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  spill(dir / "classes.txt", "picture\nnumber 1|number 12\nblue thing\n");
  const auto concepts = run_json("triptych data concepts " + config + " --corpus text");
  EXPECT_EQ(concepts["concepts"], 3);
  EXPECT_EQ(concepts["seen"], 1);
  EXPECT_EQ(concepts["counts"][0]["concept"], "picture");
  EXPECT_EQ(concepts["counts"][0]["occurrences"], 20);
  EXPECT_EQ(concepts["counts"][1]["occurrences"], 2);
}

TEST(DataTools, NounPhrasesAreCountedFromTheirFile) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  const auto command = "triptych data concepts " + config + " --phrases";
  const auto no_file = run_shell(command);
  EXPECT_EQ(no_file.code, 2);
  EXPECT_THAT(no_file.err, HasSubstr("data phrases"));
  const auto set = " --set data.corpora.0.phrases=" + (dir / "text.phrases").string();
  EXPECT_EQ(run_shell("triptych data phrases " + config + set).code, 0);
  const auto counted = run_json(command + set);  // captions say "a picture with the number N"
  EXPECT_EQ(counted["concepts"], 2);
  EXPECT_EQ(counted["seen"], 2);
  ASSERT_EQ(counted["counts"].size(), 2U) << counted;
  EXPECT_EQ(counted["counts"][0]["concept"], "number");
  EXPECT_EQ(counted["counts"][1]["concept"], "picture");
  EXPECT_EQ(counted["counts"][1]["occurrences"], 20);
  EXPECT_EQ(counted["counts"][1]["records"], 20);
  const auto rare = run_json(command + set + " --more-than 20");
  EXPECT_EQ(rare["concepts"], 2);
  EXPECT_EQ(rare["counts"].size(), 0U) << "what is not seen is counted, not listed";
  const auto other = run_shell(command + set + " --set data.corpora.0.caption_keys=[txt,json]");
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.err, HasSubstr("other caption keys"));
}

TEST(DataTools, VerifyListsEveryBadRecordAndEndsWithThreeBeyondTheBudget) {
  const TempDir dir;
  const auto config = write_tiny_run(dir);
  auto bytes = slurp(dir / "text.tar");
  const auto damage = [&](int pictures) {
    for (; pictures > 0; --pictures) bytes.replace(bytes.find("RIFF"), 4, "JUNK");
    spill(dir / "text.tar", bytes);
  };
  damage(10);
  const auto within = run_json("triptych data verify " + config + " --corpus text");
  EXPECT_EQ(within["unusable"], 10);
  EXPECT_EQ(within["corpora"][0]["allowed"], 10);
  damage(1);
  const auto above = run_shell("triptych data verify " + config + " --corpus text --format json");
  EXPECT_EQ(above.code, 3);
  EXPECT_THAT(above.err, HasSubstr("data.error_budget"));
  const auto listed = json::parse(above.out);
  EXPECT_EQ(listed["bad_records"].size(), 11U);
  EXPECT_EQ(listed["bad_records"][10]["key"], "1010");
  EXPECT_EQ(run_shell("mpirun -np 2 triptych data verify " + config + " --corpus text").code, 3);
  EXPECT_EQ(run_shell("triptych data verify " + config + " --corpus text --set data.error_budget=0.9").code, 0);
}

}  // namespace
}  // namespace triptych
