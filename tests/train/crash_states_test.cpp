// A power cut at any instant of a save: whatever the disk may then hold, the step before or the new one is there whole,
// never a mix. Writers that sync too little or rename too early are caught by the same replay.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "core/base/fault_plan.h"
#include "core/base/hash.h"
#include "core/train/checkpoint_store.h"
#include "tests/support/crash_states.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

namespace fs = std::filesystem;

const std::set<std::string> kModelPart = {"weight"};

/// A state that is different in every item at every step.
struct StateOfStep {
  explicit StateOfStep(std::int64_t step_) : step(step_) {
    const auto key = static_cast<std::uint64_t>(step);
    weight = draw({key, 1}, {2, 3}).to(at::kFloat);
    moment = draw({key, 2}, {2, 3});
  }
  VisitState visit() {
    return [this](StateVisitor& visitor) {
      visitor.tensor("weight", weight);
      visitor.tensor("optimizer.moment", moment);
      visitor.integer("step", step);
    };
  }
  bool operator==(const StateOfStep& other) const {
    return weight.equal(other.weight) && moment.equal(other.moment) && step == other.step;
  }
  std::int64_t step;
  at::Tensor weight, moment;
};

Manifest manifest_of(std::int64_t step) {
  Manifest manifest;
  manifest.step = step;
  return manifest;
}

void save_step(std::int64_t step, const fs::path& folder, DiskOps& disk) {
  StateOfStep state(step);
  write_checkpoint(CheckpointStore(folder).path(step), manifest_of(step), take_snapshot(state.visit(), kModelPart),
                   "a: 1\n", disk);
}

/// What a start would find in an image: 0 for no checkpoint, -1 if one that is listed is not whole.
std::int64_t newest_whole(const fs::path& folder) {
  const CheckpointStore store(folder);
  store.remove_unfinished();
  std::int64_t newest = 0;
  for (const auto step : store.steps()) {
    try {
      const auto manifest = verify_checkpoint(store.path(step));
      StateOfStep loaded(step + 1000);
      load_checkpoint(store.path(step), loaded.visit(), kModelPart);
      if (manifest.step != step || !(loaded == StateOfStep(step))) return -1;
    } catch (const CheckpointError&) {
      return -1;
    }
    newest = std::max(newest, step);
  }
  return newest;
}

/// Every state of a power cut during a record of operations.
class Replay {
 public:
  /// `root`: as it was before.
  explicit Replay(const fs::path& root) : states_(root) {}
  /// Goes on by these operations; the newest whole step of every image before the first and after each of them.
  std::set<std::int64_t> run(const std::vector<DiskOp>& ops) {
    auto found = now();
    for (const auto& op : ops) {
      states_.apply(op);
      look(found);
    }
    return found;
  }
  std::set<std::int64_t> now() {
    std::set<std::int64_t> found;
    look(found);
    return found;
  }
  std::size_t images() const { return known_.size(); }

 private:
  void look(std::set<std::int64_t>& found) {
    states_.each_image([&](const DiskImage& image) {
      Xxh64 hash;
      for (const auto& [path, bytes] : image) hash.add(path + '\0').add(std::to_string(bytes.size()) + ' ').add(bytes);
      const auto [known, fresh] = known_.try_emplace(hash.value());
      if (fresh) {
        const TempDir folder;
        write_image(image, folder.path());
        known->second = newest_whole(folder.path());
      }
      found.insert(known->second);
    });
  }
  CrashStates states_;
  std::map<std::uint64_t, std::int64_t> known_;  ///< image -> its newest whole step
};

using Steps = std::set<std::int64_t>;

TEST(CrashStates, TheFirstSaveIsWholeOrNotThere) {
  const TempDir folder;
  Replay replay(folder.path());
  RecordingDisk disk(folder.path());
  save_step(1, folder.path(), disk);
  EXPECT_EQ(replay.run(disk.ops()), (Steps{0, 1}));
  EXPECT_EQ(replay.now(), Steps{1}) << "what a save has returned from is on the disk";
  EXPECT_GT(replay.images(), 80U) << "different states of the disk";
}

TEST(CrashStates, ASaveLeavesTheStepBeforeOrTheNewOne) {
  const TempDir folder;
  save_step(1, folder.path(), system_disk());
  Replay replay(folder.path());
  RecordingDisk disk(folder.path());
  save_step(2, folder.path(), disk);
  EXPECT_EQ(replay.run(disk.ops()), (Steps{1, 2}));
  EXPECT_EQ(replay.now(), Steps{2});
}

TEST(CrashStates, AStepSavedAgainIsOneOrTheOther) {
  const TempDir folder;
  save_step(1, folder.path(), system_disk());
  save_step(2, folder.path(), system_disk());
  Replay replay(folder.path());
  RecordingDisk disk(folder.path());
  save_step(2, folder.path(), disk);
  EXPECT_EQ(replay.run(disk.ops()), Steps{2});
}

/// A file system that cannot let two names change places (NFS).
class NoExchange : public RecordingDisk {
  using RecordingDisk::RecordingDisk;
  int do_exchange(const fs::path&, const fs::path&) override {
    errno = EINVAL;
    return -1;
  }
};

TEST(CrashStates, WithoutAnExchangeTheOnlyStepSavedAgainIsStillThere) {
  const TempDir folder;
  save_step(1, folder.path(), system_disk());
  Replay replay(folder.path());
  NoExchange disk(folder.path());
  save_step(1, folder.path(), disk);
  EXPECT_EQ(replay.run(disk.ops()), Steps{1});
  EXPECT_EQ(replay.now(), Steps{1});
  EXPECT_FALSE(fs::exists(CheckpointStore(folder.path()).path(1).string() + ".old"));
  EXPECT_FALSE(fs::exists(CheckpointStore(folder.path()).path(1).string() + ".tmp"));
}

TEST(CrashStates, WithoutAnExchangeAFailedRenamePutsTheOldOneBack) {
  const TempDir folder;
  save_step(1, folder.path(), system_disk());
  // The renames: the exchange that is not there, aside, into place.
  for (const int skip : {1, 2}) {
    Replay replay(folder.path());
    NoExchange disk(folder.path());
    plan_faults({{.point = FaultPoint::kCheckpointRename, .action = FaultAction::kIoError, .skip = skip}});
    EXPECT_THROW(save_step(1, folder.path(), disk), StorageError);
    plan_faults({});
    EXPECT_EQ(replay.run(disk.ops()), Steps{1});
    EXPECT_EQ(CheckpointStore(folder.path()).steps(), std::vector<std::int64_t>{1}) << "without a restart, too";
  }
}

TEST(CrashStates, OlderOnesGoOnlyWhenTheNewOneIsOnTheDisk) {
  const TempDir folder;
  save_step(1, folder.path(), system_disk());
  save_step(2, folder.path(), system_disk());
  Replay replay(folder.path());
  RecordingDisk disk(folder.path());
  CheckpointConfig config;
  config.keep_last = 1;
  CheckpointWriter writer(CheckpointStore(folder.path(), disk), config, {});
  StateOfStep state(3);
  writer.save([&](StateSnapshot) {
    return SaveJob{manifest_of(3), take_snapshot(state.visit(), kModelPart), "a: 1\n", {}, {}, {}};
  });
  writer.wait();
  ASSERT_EQ(writer.failures_in_a_row(), 0) << writer.last_error();
  EXPECT_EQ(CheckpointStore(folder.path()).steps(), std::vector<std::int64_t>{3});
  EXPECT_EQ(replay.run(disk.ops()), (Steps{2, 3}));
  EXPECT_EQ(replay.now(), Steps{3});
}

TEST(CrashStates, AFailedSaveLeavesTheStepBefore) {
  const TempDir folder;
  save_step(1, folder.path(), system_disk());
  for (const auto point : {FaultPoint::kCheckpointOpen, FaultPoint::kCheckpointWrite, FaultPoint::kCheckpointSync,
                           FaultPoint::kCheckpointManifest, FaultPoint::kCheckpointRename}) {
    Replay replay(folder.path());
    RecordingDisk disk(folder.path());
    plan_faults({{.point = point, .action = FaultAction::kIoError}});
    EXPECT_THROW(save_step(2, folder.path(), disk), StorageError);
    plan_faults({});
    EXPECT_EQ(replay.run(disk.ops()), Steps{1});
    EXPECT_FALSE(fs::exists(CheckpointStore(folder.path()).path(2).string() + ".tmp"));
  }
}

// ---- Controls: the replay must see what is wrong ----

class NoFileSync : public RecordingDisk {
  using RecordingDisk::RecordingDisk;
  int do_sync(int) override { return 0; }
};

class NoFolderSync : public RecordingDisk {
  using RecordingDisk::RecordingDisk;
  int do_sync_path(const fs::path&, bool) override { return 0; }
};

template <class Disk>
Steps found_with() {
  const TempDir folder;
  save_step(1, folder.path(), system_disk());
  Replay replay(folder.path());
  Disk disk(folder.path());
  save_step(2, folder.path(), disk);
  return replay.run(disk.ops());
}

TEST(CrashStates, AWriterThatDoesNotSyncItsFilesIsCaught) {
  EXPECT_TRUE(found_with<NoFileSync>().contains(-1));
}

TEST(CrashStates, AWriterThatDoesNotSyncItsFolderIsCaught) {
  EXPECT_TRUE(found_with<NoFolderSync>().contains(-1));
}

TEST(CrashStates, ARenameBeforeTheManifestIsCaught) {
  const TempDir folder, source;
  save_step(1, folder.path(), system_disk());
  save_step(2, source.path(), system_disk());
  Replay replay(folder.path());
  RecordingDisk disk(folder.path());
  const auto good = CheckpointStore(source.path()).path(2), made = CheckpointStore(folder.path()).path(2);
  const auto copy = [&](const char* name, const fs::path& into) {
    const auto bytes = read_file(good / name);
    auto file = disk.create(into / name);
    disk.write(file, bytes.data(), bytes.size(), name);
    disk.finish(std::move(file), name);
  };
  disk.make_folders(made.string() + ".tmp");
  for (const char* name : {"model.safetensors", "state.safetensors", "config.yaml"}) copy(name, made.string() + ".tmp");
  disk.sync_folder(made.string() + ".tmp");
  disk.rename_durably(made.string() + ".tmp", made);
  copy("manifest.json", made);
  disk.sync_folder(made);
  EXPECT_EQ(newest_whole(folder.path()), 2) << "without a power cut all is well";
  EXPECT_TRUE(replay.run(disk.ops()).contains(-1));
}

TEST(CrashStates, RemovingTheOldOneFirstIsCaught) {
  const TempDir folder;
  save_step(1, folder.path(), system_disk());
  Replay replay(folder.path());
  RecordingDisk disk(folder.path());
  CheckpointStore(folder.path(), disk).remove(1);
  save_step(2, folder.path(), disk);
  EXPECT_TRUE(replay.run(disk.ops()).contains(0));
}

}  // namespace
}  // namespace triptych
