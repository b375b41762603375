// Corpora of a few made-up pictures and the YAML of a run that learns them within seconds.
#pragma once
#include <webp/encode.h>

#include <string>
#include <vector>

#include "tests/apps/run_program.h"

namespace triptych {

/// A picture of one colour with a frame, 40 x 32, losslessly encoded.
inline std::string made_up_picture(int number) {
  constexpr int kWidth = 40, kHeight = 32;
  std::vector<unsigned char> rgb;
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      const bool frame = x < 3 || y < 3;
      for (int channel = 0; channel < 3; ++channel) {
        rgb.push_back(static_cast<unsigned char>(frame ? 255 : (number * (37 + 50 * channel)) % 256));
      }
    }
  }
  unsigned char* encoded = nullptr;
  const auto bytes = WebPEncodeLosslessRGB(rgb.data(), kWidth, kHeight, 3 * kWidth, &encoded);
  const std::string file(reinterpret_cast<char*>(encoded), bytes);
  WebPFree(encoded);
  return file;
}

/// `count` records NNN.webp with NNN.txt (captions) or NNN.cls (class = number mod 3) in one tar archive.
inline void write_shard(const std::filesystem::path& shard, int count, bool captions) {
  const TempDir scratch;
  for (int i = 0; i < count; ++i) {
    const auto key = std::to_string(1000 + i);
    spill(scratch / (key + ".webp"), made_up_picture(i));
    if (captions) spill(scratch / (key + ".txt"), "a picture with the number " + std::to_string(i));
    if (!captions) spill(scratch / (key + ".cls"), std::to_string(i % 3));
  }
  const auto command = "cd " + scratch.path().string() + " && tar -cf " + shard.string() + " *";
  if (std::system(command.c_str()) != 0) throw std::runtime_error("cannot make " + shard.string());
}

/// Writes corpora and DIR/run.yaml; returns the path of the latter.
inline std::string write_tiny_run(const TempDir& dir) {
  write_shard(dir / "text.tar", 20, true);
  write_shard(dir / "label.tar", 16, false);
  spill(dir / "classes.txt", "red thing\ngreen thing\nblue thing\n");
  const auto root = dir.path().string();
  spill(dir / "run.yaml", "run: {name: tiny, dir: " + root +
                              "/runs, seed: 3}\n"
                              "data:\n"
                              "  corpora:\n"
                              "    - {name: text, kind: image_text, path: " +
                              root +
                              "/text.tar}\n"
                              "    - {name: label, kind: image_label, path: " +
                              root + "/label.tar, class_names: " + root +
                              "/classes.txt}\n"
                              "model:\n"
                              "  image: {type: vit, image_size: 32, patch_size: 16, width: 32, depth: 1, heads: 2}\n"
                              "  text: {type: causal_transformer, context: 16, width: 32, depth: 1, heads: 2}\n"
                              "  embed_dim: 16\n"
                              "objective: {name: unicl}\n"
                              "train: {global_batch: 12, micro_batch: 6, device: cpu, threads: 1}\n"
                              "schedule: {total: {steps: 4}, warmup: {steps: 1}}\n"
                              "checkpoint: {every: {steps: 2}}\n"
                              "eval:\n"
                              "  - {name: zero_shot, corpus: {kind: image_label, path: " +
                              root + "/label.tar, class_names: " + root +
                              "/classes.txt}, prompts: plain}\n"
                              "  - {name: retrieval, corpus: {kind: image_text, path: " +
                              root +
                              "/text.tar}}\n"
                              "log: {every: {steps: 1}}\n");
  return (dir / "run.yaml").string();
}

}  // namespace triptych
