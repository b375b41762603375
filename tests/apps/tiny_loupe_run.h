// A LOUPE run of a few steps on made-up pictures, with phrases found beforehand.
#pragma once
#include <stdexcept>
#include <string>

#include "tests/apps/tiny_run.h"

namespace triptych {

/// Writes DIR/loupe.yaml, trains it and returns the path; the run is DIR/runs/loupe. 3 regions of 16 cells, a network
/// that has been taught. `change`: more options of the command line.
inline std::string train_tiny_loupe(const TempDir& dir, const std::string& change = "") {
  write_shard(dir / "text.tar", 20, true);
  const auto root = dir.path().string(), config = root + "/loupe.yaml";
  const auto corpus = "kind: image_text, path: " + root + "/text.tar";
  spill(config,
        "run: {name: loupe, dir: " + root +
            "/runs, seed: 5}\n"
            "data:\n"
            "  corpora:\n"
            "    - {name: text, " +
            corpus + ", phrases: " + root +
            "/text.phrases}\n"
            "  augment: {recipe: none}\n"
            "model:\n"
            "  image: {type: swin, image_size: 32, patch_size: 4, width: 8, window: 4, depths: [1, 1], heads: [1, "
            "2], drop_path: 0}\n"
            "  text: {type: bert, context: 12, width: 16, depth: 1, heads: 2, positions: 16}\n"
            "  embed_dim: 8\n"
            "objective:\n"
            "  name: loupe\n"
            "  regions: {count: 3, hidden: 8, least: 0.55}\n"
            "  tokens: {coalitions: 4, members: 2, targets: 6}\n"
            "  phrases: {temperature: 0.3}\n"
            "  unsil: {warmup: 1}\n"
            "train: {global_batch: 10, device: cpu, threads: 1}\n"
            "optimizer: {name: adamw, lr: 0.001}\n"
            "schedule: {total: {steps: 4}, warmup: {steps: 1}}\n"
            "checkpoint: {every: {steps: 4}}\n"
            "eval: [{name: retrieval, label: pairs, corpus: {" +
            corpus + "}}]\n");
  for (const auto& command : {"triptych data phrases " + config, "triptych train " + config + change}) {
    const auto outcome = run_shell(command);
    if (outcome.code != 0) throw std::runtime_error(command + "\n" + outcome.err);
  }
  return config;
}

}  // namespace triptych
