// Logs grow line by line and are cut back to what a checkpoint knew.
#include "core/train/run_log.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>
#include <protozero/pbf_reader.hpp>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> result;
  for (const auto& entry : fs::directory_iterator(folder)) {
    result[entry.path().filename().string()] = read_file(entry.path());
  }
  return result;
}

LogConfig all_logs() {
  LogConfig config;
  config.step_record = true;
  config.ledger = true;
  return config;
}

LogConfig without_tensorboard() {
  LogConfig config;
  config.tensorboard = false;
  return config;
}

void write_steps(RunLog& log, int first, int last) {
  for (int step = first; step <= last; ++step) {
    log.metrics({{"step", step}, {"loss", 1.0 / step}, {"peak_rss_mb", {1, 2}}});
    log.step_record({{"step", step}});
    log.ledger("{\"position\":" + std::to_string(step) + "}\n");
    log.skipped({.sample_id = step, .position = step, .corpus = "c", .shard = "s", .key = "k", .reason = "r"}, step);
  }
}

TEST(RunLog, IsCutBackToTheCheckpointAlsoWhatIsNotWrittenNow) {
  const TempDir folder;
  std::map<std::string, std::int64_t> lengths;
  {
    RunLog log(folder.path(), all_logs(), {});
    write_steps(log, 1, 3);
    lengths = log.lengths();
    EXPECT_EQ(lengths.size(), 5u);
    write_steps(log, 4, 6);
  }
  const auto whole = contents(folder.path());
  { const RunLog log(folder.path(), without_tensorboard(), lengths); }
  for (const auto& [name, text] : contents(folder.path())) {
    EXPECT_EQ(text, whole.at(name).substr(0, static_cast<std::size_t>(lengths.at(name)))) << name;
  }
  lengths.erase("steps.jsonl");  // did not exist then
  { const RunLog log(folder.path(), LogConfig{}, lengths); }
  EXPECT_EQ(fs::file_size(folder / "steps.jsonl"), 0u);
  EXPECT_EQ(contents(folder.path()).size(), 5u);  // no second event file
}

TEST(RunLog, NumbersThatAreNotFiniteAreNull) {
  const TempDir folder;
  RunLog log(folder.path(), without_tensorboard(), {});
  log.metrics({{"step", 1}, {"loss", NAN}});
  EXPECT_EQ(read_file(folder / "metrics.jsonl"), "{\"step\":1,\"loss\":null}\n");
}

TEST(AppendFile, WhatAFullDiskRefusesFollowsLater) {
  const TempDir folder;
  AppendFile file(folder / "a", INT64_MAX);
  file.append("0123456789");
  struct rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit tight = {15, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight);
  file.append("abcdefghij");
  EXPECT_THROW(file.flush(), StorageError);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  file.append("KLM");
  EXPECT_NO_THROW(file.flush());
  EXPECT_EQ(read_file(folder / "a"), "0123456789abcdefghijKLM");
  EXPECT_EQ(file.length(), 23);
}

TEST(TensorBoard, ChecksumIsCrc32c) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);  // the check value of CRC-32C, RFC 3720
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
}

TEST(TensorBoard, RecordsHoldWhatWasWritten) {
  const TempDir folder;
  {
    TensorBoardFile file(folder.path(), INT64_MAX);
    file.scalars(12, 5.5, {{"loss", 0.25}, {"eval/zero_shot/top1", 0.5}});
  }
  const auto bytes = read_file(fs::directory_iterator(folder.path())->path());
  std::size_t at = 0;
  std::vector<std::string> events;
  while (at < bytes.size()) {
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data() + at, 8);
    events.push_back(bytes.substr(at + 12, length));
    at += 16 + length;
  }
  EXPECT_EQ(at, bytes.size());
  ASSERT_EQ(events.size(), 2u);
  protozero::pbf_reader version(events[0]);
  ASSERT_TRUE(version.next(3));
  EXPECT_EQ(version.get_string(), "brain.Event:2");
  protozero::pbf_reader event(events[1]);
  std::map<std::string, float> scalars;
  std::int64_t step = 0;
  while (event.next()) {
    if (event.tag() == 2) {
      step = event.get_int64();
    } else if (event.tag() == 5) {
      auto summary = event.get_message();
      while (summary.next(1)) {
        auto value = summary.get_message();
        std::string tag;
        while (value.next()) {
          if (value.tag() == 1) {
            tag = value.get_string();
          } else {
            scalars[tag] = value.get_float();
          }
        }
      }
    } else {
      event.skip();
    }
  }
  EXPECT_EQ(step, 12);
  EXPECT_EQ(scalars, (std::map<std::string, float>{{"loss", 0.25f}, {"eval/zero_shot/top1", 0.5f}}));
}

TEST(TensorBoard, TheTensorboardPackageReadsTheSameAlsoAfterACutBack) {
  const TempDir folder;
  std::int64_t known = 0;
  {
    TensorBoardFile file(folder.path(), INT64_MAX);
    file.scalars(1, 5, {{"loss", 0.5}});
    known = static_cast<std::int64_t>(fs::file_size(file.path()));
    file.scalars(2, 6, {{"loss", 9}});
  }
  TensorBoardFile file(folder.path(), known);
  file.scalars(2, 7, {{"loss", 0.25}, {"lr", 0.125}});
  const auto out = folder / "out.txt";
  const std::string command = source_path(".venv/bin/python") + " " + source_path("tests/train/read_events.py") + " " +
                              folder.path().string() + " > " + out.string() + " 2> " + (folder / "err.txt").string();
  ASSERT_EQ(std::system(command.c_str()), 0) << read_file(folder / "err.txt");
  EXPECT_EQ(read_file(out), "loss 1 0.5\nloss 2 0.25\nlr 2 0.125\n");
}

}  // namespace
}  // namespace triptych
