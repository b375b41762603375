// The walk over a checkpoint's state that loses one item after the other.
#pragma once
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "core/module/safetensors.h"
#include "core/train/checkpoint_store.h"
#include "tests/train/tiny_run.h"

namespace triptych {

inline std::vector<NamedTensor> tensors_of(const std::filesystem::path& file) {
  const SafetensorsReader reader(file);
  std::vector<NamedTensor> tensors;
  for (const auto& [name, stored] : reader.tensors()) tensors.push_back({name, reader.read(name)});
  return tensors;
}

/// Every item of the state of `config`'s run at step 4, if `tried` says so lost in turn: the names of those whose loss
/// the resumed run's record does not show.
inline std::vector<std::string> losses_not_seen(const TinyRun& tiny, TrainConfig config,
                                                const std::function<bool(const std::string& name)>& tried) {
  config.run.name = "whole";
  std::filesystem::remove_all(tiny.run("whole"));
  EXPECT_EQ(TinyRun::train(config, 1), ExitCode::kDone);
  const auto whole = tiny.text("whole", "steps.jsonl");
  const auto original = CheckpointStore(tiny.run("whole") / "checkpoints").path(4);
  auto manifest = verify_checkpoint(original);
  manifest.files.clear();
  const StateSnapshot saved{tensors_of(original / "model.safetensors"), tensors_of(original / "state.safetensors"), {}};
  const auto models = static_cast<int>(saved.model.size()), items = models + static_cast<int>(saved.state.size());
  EXPECT_GT(items, 80);
  config.run.name = "resumed";
  std::vector<std::string> not_seen;
  for (int lost = -1; lost < items; ++lost) {
    StateSnapshot changed = saved;
    std::string name = "nothing";
    if (lost >= 0) {
      auto& item = lost < models ? changed.model[lost] : changed.state[lost - models];
      name = item.name;
      if (!tried(name)) continue;
      // Back to nothing; what is nothing already, to something.
      const bool blank = item.tensor.numel() == 0 || !item.tensor.to(at::kDouble).abs().sum().gt(0).item<bool>();
      item.tensor = item.tensor.scalar_type() == at::kByte ? at::tensor({'9', ' '}, at::kByte)
                    : blank                                ? at::ones_like(item.tensor)
                                                           : at::zeros_like(item.tensor);
    }
    std::filesystem::remove_all(tiny.run("resumed"));
    tiny.copy_run("whole", "resumed", 3);
    write_checkpoint(CheckpointStore(tiny.run("resumed") / "checkpoints").path(4), manifest, changed,
                     train_config_text(config));
    std::string resumed;
    try {
      TinyRun::train(config, 1);
      resumed = tiny.text("resumed", "steps.jsonl");
    } catch (const Error& error) {
      resumed = error.what();
    }
    if (lost < 0) {
      EXPECT_EQ(resumed, whole) << "a checkpoint that lost nothing";
    } else if (resumed == whole) {
      not_seen.push_back(name);
    }
  }
  return not_seen;
}

}  // namespace triptych
