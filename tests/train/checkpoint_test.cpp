// Complete or absent: every cut, every flipped bit, every missing file is refused, and the newest valid checkpoint is
// found.
#include "core/train/checkpoint.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/time.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <thread>

#include "core/base/atomic_file.h"
#include "core/base/clock.h"
#include "core/base/errors.h"
#include "core/train/checkpoint_store.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

/// A state of every kind of item.
struct SmallState {
  at::Tensor weight = draw({1}, {4, 3}).to(at::kFloat), moment = draw({2}, {4, 3}), queue = at::arange(6, at::kLong);
  std::int64_t steps = 7;
  double best = 0.1;
  std::string ids = "3 5 8 ";
  VisitState visit() {
    return [this](StateVisitor& visitor) {
      visitor.tensor("weight", weight);
      visitor.tensor("optimizer.moment", moment);
      visitor.tensor("queue", queue);
      visitor.integer("steps", steps);
      visitor.real("best", best);
      visitor.text("ids", ids);
    };
  }
  bool operator==(const SmallState& other) const {
    return weight.equal(other.weight) && moment.equal(other.moment) && queue.equal(other.queue) &&
           steps == other.steps && best == other.best && ids == other.ids;
  }
  static SmallState blank() {
    SmallState state;
    state.weight.zero_();
    state.moment.zero_();
    state.queue.zero_();
    state.steps = 0;
    state.best = 0;
    state.ids.clear();
    return state;
  }
};

const std::set<std::string> kModelNames = {"weight"};

Manifest some_manifest(std::int64_t step) {
  return {.step = step,
          .samples_seen = step * 8,
          .files = {},
          .logs = {{"metrics.jsonl", 120}},
          .config_xxh64 = "00",
          .corpus_fingerprint = "11",
          .class_names_xxh64 = "12",
          .device = "cpu",
          .instruction_set = "AVX2",
          .program = "test"};
}

fs::path write_step(const fs::path& folder, std::int64_t step) {
  fs::create_directories(folder);
  SmallState state;
  state.steps = step;
  const auto path = CheckpointStore(folder).path(step);
  write_checkpoint(path, some_manifest(step), take_snapshot(state.visit(), kModelNames), "run: {name: a}\n");
  return path;
}

TEST(Checkpoint, GivesBackEveryKindOfItem) {
  const TempDir folder;
  SmallState state, loaded = SmallState::blank();
  ASSERT_FALSE(state == loaded);
  const auto path = folder / "step_00000007";
  write_checkpoint(path, some_manifest(7), take_snapshot(state.visit(), kModelNames), "a: 1\n");
  auto manifest = verify_checkpoint(path);
  EXPECT_EQ(manifest.files.size(), 3u);
  manifest.files.clear();
  EXPECT_EQ(manifest, some_manifest(7));
  load_checkpoint(path, loaded.visit(), kModelNames);
  EXPECT_TRUE(state == loaded);
  EXPECT_EQ(read_file(path / "config.yaml"), "a: 1\n");
  EXPECT_EQ(SafetensorsReader(path / "model.safetensors").tensors().size(), 1u);
  EXPECT_FALSE(fs::exists(path.string() + ".tmp"));
}

TEST(Checkpoint, RefusesAnotherModelWithATableAndLoadsNothing) {
  const TempDir folder;
  const auto path = write_step(folder.path(), 1);
  auto other = SmallState::blank();
  other.weight = at::zeros({5, 3});
  std::int64_t extra = 3;
  const VisitState visit = [&](StateVisitor& visitor) {
    visitor.tensor("weight", other.weight);
    visitor.tensor("optimizer.moment", other.moment);
    visitor.integer("steps", other.steps);
    visitor.real("best", other.best);
    visitor.integer("extra", extra);
    visitor.text("ids", other.ids);
  };
  try {
    load_checkpoint(path, visit, kModelNames);
    FAIL() << "accepted";
  } catch (const CheckpointError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("weight: the checkpoint has Float [4, 3], this run Float [5, 3]"), std::string::npos) << text;
    EXPECT_NE(text.find("extra: missing in the checkpoint"), std::string::npos) << text;
    EXPECT_NE(text.find("queue: only in the checkpoint (Long [6])"), std::string::npos) << text;
  }
  EXPECT_EQ(other.steps, 0);
  EXPECT_EQ(other.moment.abs().sum().item<double>(), 0);
}

TEST(Checkpoint, TwoItemsOfOneNameAreAMistake) {
  SmallState state;
  const VisitState twice = [&](StateVisitor& visitor) {
    state.visit()(visitor);
    visitor.integer("steps", state.steps);
  };
  EXPECT_THROW(take_snapshot(twice, kModelNames), std::logic_error);
}

TEST(Checkpoint, ASnapshotTakesTheRoomOfAnOlderOne) {
  SmallState state;
  StateSnapshot old = begin_snapshot(state.visit(), kModelNames);
  const auto* const room = old.model[0].tensor.const_data_ptr();
  state.weight = state.weight + 1;
  StateSnapshot next = begin_snapshot(state.visit(), kModelNames, std::move(old));
  EXPECT_EQ(next.model[0].tensor.const_data_ptr(), room);
  EXPECT_TRUE(next.model[0].tensor.equal(state.weight));
  state.weight = at::full({5, 3}, 2.0);  // no longer fits
  const StateSnapshot other = begin_snapshot(state.visit(), kModelNames, std::move(next));
  EXPECT_TRUE(other.model[0].tensor.equal(state.weight));
}

TEST(Checkpoint, OnlyLargeTensorsWaitForTheirCopy) {
  SmallState state;
  state.moment = draw({3}, {300, 300});
  state.queue = at::arange(100'000, at::kLong).view({2, 50'000}).t();  // not dense
  StateSnapshot snapshot = begin_snapshot(state.visit(), kModelNames);
  ASSERT_EQ(snapshot.pending.size(), 1U);
  const at::Tensor before = state.moment.clone();
  snapshot.finish();
  state.moment.zero_();
  EXPECT_TRUE(snapshot.state[0].tensor.equal(before));
  EXPECT_TRUE(snapshot.state[1].tensor.equal(state.queue));
  EXPECT_TRUE(snapshot.pending.empty());
}

TEST(Checkpoint, EveryCutIsRefused) {
  const TempDir folder;
  const auto path = write_step(folder.path(), 1);
  for (const char* name : {"manifest.json", "model.safetensors", "state.safetensors", "config.yaml"}) {
    const auto whole = read_file(path / name);
    for (const std::size_t length :
         {std::size_t{0}, std::size_t{1}, whole.size() / 3, whole.size() / 2, whole.size() - 1}) {
      std::ofstream(path / name, std::ios::binary) << whole.substr(0, length);
      EXPECT_THROW(verify_checkpoint(path), CheckpointError) << name << " cut at " << length;
    }
    std::ofstream(path / name, std::ios::binary) << whole << '\n';
    EXPECT_THROW(verify_checkpoint(path), CheckpointError) << name << " longer";
    fs::remove(path / name);
    EXPECT_THROW(verify_checkpoint(path), CheckpointError) << name << " missing";
    std::ofstream(path / name, std::ios::binary) << whole;
    EXPECT_NO_THROW(verify_checkpoint(path));
  }
}

TEST(Checkpoint, EveryFlippedBitIsRefused) {
  const TempDir folder;
  const auto path = write_step(folder.path(), 1);
  int refused = 0, flips = 0;
  for (const char* name : {"manifest.json", "model.safetensors", "state.safetensors", "config.yaml"}) {
    const auto whole = read_file(path / name);
    const std::size_t stride = std::string(name) == "manifest.json" ? 1 : 13;
    for (std::size_t bit = 0; bit < whole.size() * 8; bit += stride, ++flips) {
      auto damaged = whole;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      std::ofstream(path / name, std::ios::binary) << damaged;
      try {
        verify_checkpoint(path);
        ADD_FAILURE() << name << ": bit " << bit << " of byte " << bit / 8 << " was not noticed";
      } catch (const CheckpointError&) {
        ++refused;
      }
    }
    std::ofstream(path / name, std::ios::binary) << whole;
  }
  EXPECT_EQ(refused, flips);
  EXPECT_GT(flips, 4000);
}

TEST(Checkpoint, AFlippedBitsTensorIsNamed) {
  const TempDir folder;
  const auto path = write_step(folder.path(), 1);
  for (const char* name : {"model.safetensors", "state.safetensors"}) {
    const auto whole = read_file(path / name);
    std::uint64_t length = 0;
    std::memcpy(&length, whole.data(), sizeof length);
    const std::uint64_t data = sizeof length + length;
    const auto header =
        parse_safetensors_header(std::string_view(whole).substr(sizeof length, length), whole.size() - data, name);
    const auto error_after_flip = [&](std::uint64_t byte) -> std::string {
      auto damaged = whole;
      damaged[byte] = static_cast<char>(damaged[byte] ^ 4);
      std::ofstream(path / name, std::ios::binary) << damaged;
      try {
        verify_checkpoint(path);
      } catch (const DamagedCheckpoint& error) {
        return error.what();
      }
      return "not noticed";
    };
    for (const auto& [tensor, where] : header.tensors) {
      for (auto byte = where.begin; byte < where.end; ++byte) {
        ASSERT_THAT(error_after_flip(data + byte), testing::EndsWith("; damaged in it: " + tensor)) << byte;
      }
    }
    EXPECT_THAT(error_after_flip(data - 1), testing::EndsWith("; damaged in it: the header"));
    std::ofstream(path / name, std::ios::binary) << whole;
  }
}

TEST(Checkpoint, ATensorWithoutElementsIsNotTakenForTheDamagedOne) {
  const TempDir folder;
  const auto path = folder / "step_00000001";
  StateSnapshot snapshot;
  snapshot.model = {{"z", at::ones({0})}, {"weight", at::ones({3})}};  // both begin where the data do
  write_checkpoint(path, Manifest(), snapshot, "");
  auto damaged = read_file(path / "model.safetensors");
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  std::ofstream(path / "model.safetensors", std::ios::binary) << damaged;
  try {
    verify_checkpoint(path);
    FAIL() << "not noticed";
  } catch (const DamagedCheckpoint& error) {
    EXPECT_THAT(error.what(), testing::EndsWith("; damaged in it: weight"));
  }
}

TEST(Checkpoint, ManifestsOfTheVersionBeforeAreRead) {
  const TempDir folder;
  const auto path = write_step(folder.path(), 1);
  auto manifest = verify_checkpoint(path);
  EXPECT_GE(manifest.files.at("model.safetensors").parts.size(), 2u);
  manifest.format_version = 2;
  for (auto& [name, file] : manifest.files) file.parts.clear();
  std::ofstream(path / "manifest.json", std::ios::binary) << manifest_text(manifest);
  EXPECT_EQ(verify_checkpoint(path), manifest);
  std::ofstream(path / "model.safetensors", std::ios::binary | std::ios::in | std::ios::ate).seekp(-1, std::ios::end)
      << '?';
  EXPECT_THROW(verify_checkpoint(path), DamagedCheckpoint);
}

TEST(CheckpointStore, FallsBackToTheNewestValidAndSetsTheRestAside) {
  const TempDir folder;
  const CheckpointStore store(folder.path());
  EXPECT_FALSE(store.newest_valid().has_value());
  for (const std::int64_t step : {5, 10, 100, 99999999}) write_step(folder.path(), step);
  fs::create_directories(folder / "step_00000200.tmp");  // unfinished
  std::ofstream((folder / "step_00000200.tmp") / "manifest.json") << "{";
  fs::create_directories(folder / "step_300");  // not our name
  fs::remove(store.path(99999999) / "manifest.json");
  std::ofstream(store.path(100) / "state.safetensors") << "x";
  EXPECT_EQ(store.newest_valid(/*look_only=*/true)->manifest.step, 10);
  EXPECT_TRUE(fs::exists(store.path(100)));
  const auto found = store.newest_valid();
  EXPECT_EQ(found->manifest.step, 10);
  EXPECT_TRUE(fs::exists(store.path(100).string() + ".bad"));
  EXPECT_EQ(store.steps(), (std::vector<std::int64_t>{10, 5}));
  store.remove_unfinished();
  EXPECT_FALSE(fs::exists(folder / "step_00000200.tmp"));
  store.supersede_after(5);
  EXPECT_EQ(store.newest_valid()->manifest.step, 5);
  fs::resize_file(store.path(5) / "config.yaml", 0);
  EXPECT_THROW(store.newest_valid(), CheckpointError);  // all are damaged: never start from nothing in silence
}

TEST(CheckpointStore, AFolderOfAnotherStepIsNotTaken) {
  const TempDir folder;
  const CheckpointStore store(folder.path());
  write_step(folder.path(), 5);
  fs::rename(store.path(5), store.path(50));
  EXPECT_THROW(store.newest_valid(), CheckpointError);
}

TEST(CheckpointStore, WhatCannotBeListedIsNotEmpty) {
  const TempDir folder;
  EXPECT_TRUE(CheckpointStore(folder / "none").steps().empty());
  std::ofstream(folder / "file") << "x";
  const CheckpointStore store(folder / "file");
  EXPECT_THROW(store.steps(), CheckpointError);
  EXPECT_THROW(store.newest_valid(), CheckpointError);
  EXPECT_THROW(store.remove_unfinished(), CheckpointError);
}

SaveJob job_of(std::int64_t step, std::optional<std::int64_t> best) {
  SmallState state;
  state.steps = step;
  return {some_manifest(step), take_snapshot(state.visit(), kModelNames), "a: 1\n", {}, best, {}};
}

TEST(CheckpointWriter, KeepsLastEveryAndBest) {
  const TempDir folder;
  const CheckpointStore store(folder.path());
  CheckpointConfig config;
  config.keep_last = 2;
  config.keep_every = steps(40);
  CheckpointWriter writer(store, config, {});
  for (std::int64_t step = 10; step <= 100; step += 10) {
    writer.save(
        [&](StateSnapshot) { return job_of(step, step >= 30 ? std::optional<std::int64_t>(30) : std::nullopt); });
  }
  writer.wait();
  EXPECT_EQ(store.steps(), (std::vector<std::int64_t>{100, 90, 80, 40, 30}));
  EXPECT_EQ(writer.failures_in_a_row(), 0);
}

TEST(CheckpointWriter, WritesTheStateThatWasWhenItWasCalled) {
  const TempDir folder;
  const CheckpointStore store(folder.path());
  CheckpointWriter writer(store, {}, {});
  writer.wait_for_copy();  // of nothing
  SmallState state;
  state.moment = at::zeros({2000, 2000});  // 16 MB: the copy takes longer than the call
  for (std::int64_t step = 1; step <= 5; ++step) {
    writer.wait_for_copy();
    state.moment.fill_(static_cast<double>(step));
    state.steps = step;
    writer.save([&](StateSnapshot room) {
      return SaveJob{
          some_manifest(step), begin_snapshot(state.visit(), kModelNames, std::move(room)), "a: 1\n", {}, {}, {}};
    });
  }
  writer.wait_for_copy();
  state.moment.fill_(-1);
  writer.wait();
  SmallState loaded;
  loaded.moment = at::zeros({2000, 2000});
  load_checkpoint(store.path(5), loaded.visit(), kModelNames);
  EXPECT_TRUE((loaded.moment == 5).all().item<bool>());
  EXPECT_EQ(loaded.steps, 5);
}

/// Signals that interrupt every system call, a thousand times a second, as profilers send them.
TEST(CheckpointWriter, InterruptedCallsAreMadeAgain) {
  static std::atomic<int> interrupts = 0;
  struct sigaction count = {}, before = {};
  count.sa_handler = [](int) { ++interrupts; };  // without SA_RESTART
  sigaction(SIGALRM, &count, &before);
  const itimerval often = {{0, 1000}, {0, 1000}}, never = {};
  setitimer(ITIMER_REAL, &often, nullptr);
  const TempDir folder;
  SmallState state, loaded;
  state.moment = at::arange(1 << 20, at::kDouble);
  loaded.moment = at::zeros({1 << 20}, at::kDouble);
  for (std::int64_t step = 1; step <= 5; ++step) {
    const auto path = CheckpointStore(folder.path()).path(step);
    EXPECT_NO_THROW(write_checkpoint(path, some_manifest(step), take_snapshot(state.visit(), kModelNames), "a: 1\n"));
    EXPECT_NO_THROW(verify_checkpoint(path));
    load_checkpoint(path, loaded.visit(), kModelNames);
    EXPECT_TRUE(loaded.moment.equal(state.moment));
  }
  setitimer(ITIMER_REAL, &never, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  EXPECT_GT(interrupts, 20);
}

TEST(CheckpointWriter, NothingIsACheckpointBeforeItsStateIsFoundSound) {
  const TempDir folder;
  const CheckpointStore store(folder.path());
  CheckpointWriter writer(store, {}, {});
  std::vector<double> told;
  writer.on_saved([&](std::int64_t, double seconds) { told.push_back(seconds); });
  const auto save = [&](std::int64_t step, std::promise<void>& sound) {
    writer.save([&](StateSnapshot) {
      auto job = job_of(step, std::nullopt);
      job.sound = sound.get_future().share();
      return job;
    });
  };
  std::promise<void> first;
  save(1, first);
  const auto begin = Clock::now();
  while (!fs::exists(store.path(1).string() + ".tmp/manifest.json")) std::this_thread::yield();
  constexpr double kPause = 0.3;
  writer.wait_at_most(kPause);
  EXPECT_TRUE(store.steps().empty());
  first.set_value();
  writer.wait();
  EXPECT_EQ(store.steps(), std::vector<std::int64_t>{1});
  EXPECT_EQ(told.size(), 1U);
  EXPECT_LT(told.front(), seconds_since(begin) - 0.9 * kPause) << "waiting is not writing";
  {
    std::promise<void> never;
    save(2, never);
  }
  writer.wait();
  EXPECT_EQ(store.steps(), std::vector<std::int64_t>{1});
  EXPECT_FALSE(fs::exists(store.path(2).string() + ".tmp"));
  EXPECT_EQ(writer.failures_in_a_row(), 0) << "the disk did nothing wrong";
  EXPECT_TRUE(writer.ready());
  EXPECT_EQ(told.size(), 1U);
}

TEST(CheckpointWriter, OneIsCopiedWhileAnotherIsRenamed) {
  const TempDir folder;
  const CheckpointStore store(folder.path());
  CheckpointWriter writer(store, {}, {});
  std::promise<void> sounds[4];
  const auto begin = [&](std::int64_t step) {
    writer.save([&](StateSnapshot) {
      auto job = job_of(step, std::nullopt);
      job.sound = sounds[step].get_future().share();
      return job;
    });
    writer.wait_for_copy();
  };
  begin(1);
  begin(2);  // returns although 1 is in nobody's place yet
  EXPECT_FALSE(writer.ready());
  sounds[1].set_value();
  begin(3);  // waits for 1
  EXPECT_EQ(store.steps(), std::vector<std::int64_t>{1});
  sounds[2].set_value();
  sounds[3].set_value();
  writer.wait();
  EXPECT_EQ(store.steps(), (std::vector<std::int64_t>{3, 2}));
  EXPECT_TRUE(writer.ready());
}

/// The end of an older save says nothing of a newer one that could not begin.
TEST(CheckpointWriter, AFailureCountsAfterTheSuccessBeforeIt) {
  const TempDir folder;
  const CheckpointStore store(folder.path());
  CheckpointWriter writer(store, {}, {});
  std::promise<void> sound;
  writer.save([&](StateSnapshot) {
    auto job = job_of(1, std::nullopt);
    job.sound = sound.get_future().share();
    return job;
  });
  writer.save([&](StateSnapshot) -> SaveJob { throw StorageError("no room for logs"); });
  sound.set_value();
  writer.wait();
  EXPECT_EQ(store.steps(), std::vector<std::int64_t>{1});
  EXPECT_EQ(writer.failures_in_a_row(), 1);
}

TEST(CheckpointWriter, AFullDiskIsSurvivedAndCounted) {
  const TempDir folder;
  const CheckpointStore store(folder.path());
  CheckpointWriter writer(store, {}, {});
  writer.save([&](StateSnapshot) { return job_of(1, std::nullopt); });
  writer.wait();
  struct rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit tight = {200, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight);  // every write beyond 200 bytes fails, as on a full disk
  writer.save([&](StateSnapshot) { return job_of(2, std::nullopt); });
  writer.wait();
  EXPECT_EQ(writer.failures_in_a_row(), 1);
  writer.save([&](StateSnapshot) -> SaveJob { throw StorageError("logs are held back"); });
  writer.poll();
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(writer.failures_in_a_row(), 2);
  EXPECT_EQ(writer.last_error(), "logs are held back");
  EXPECT_EQ(store.newest_valid()->manifest.step, 1);
  EXPECT_FALSE(fs::exists(store.path(2).string() + ".tmp"));
  writer.save([&](StateSnapshot) { return job_of(3, std::nullopt); });
  writer.wait();
  EXPECT_EQ(writer.failures_in_a_row(), 0);
  EXPECT_EQ(store.newest_valid()->manifest.step, 3);
}

}  // namespace
}  // namespace triptych
