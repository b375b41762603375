// The `train` section: what one step is, how its numbers are computed, and when a step is refused.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "core/base/config.h"
#include "core/base/duration.h"

namespace triptych {

struct EmaConfig {
  double decay = 0.9999;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("decay", c.decay, "share of the average that an update keeps, less in the first updates", between(0, 1));
  }
};

struct LoopConfig {
  std::int64_t global_batch = 256;
  std::int64_t micro_batch = 0;
  std::string precision = "fp32";
  std::string device = "auto";
  bool deterministic = false;
  std::int64_t threads = 0;
  std::int64_t max_skipped_steps = 5;
  double skip_norm_above = 0;
  double timeout_s = 600;
  Duration verify_every = steps(100);
  std::optional<EmaConfig> ema = {};
  std::string attention = "auto";
  bool activation_checkpointing = false;
  double init_loss_scale = 65536;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("global_batch", c.global_batch,
          "rows of one optimizer step over all ranks; a multiple of the number of ranks", at_least(1));
    field("micro_batch", c.micro_batch,
          "largest number of rows of one forward; divides global_batch / ranks; 0: the whole local batch", at_least(0));
    field("precision", c.precision,
          "fp32; bf16, fp16: fp32 parameters, matrix products in the narrow type, fp16 with a loss scale; fp64: for "
          "tests",
          one_of({"fp32", "bf16", "fp16", "fp64"}));
    field("device", c.device, "auto takes GPUs when every local rank gets its own", one_of({"auto", "cpu", "cuda"}));
    field("deterministic", c.deterministic,
          "GPU: only algorithms that repeat their bits; slower. The CPU always repeats");
    field("threads", c.threads,
          "CPU threads of tensor operations per rank; 0: OMP_NUM_THREADS, else cores / local ranks", between(0, 1024));
    field("max_skipped_steps", c.max_skipped_steps,
          "steps in a row without a usable gradient that are skipped; one more ends the run", at_least(0));
    field("skip_norm_above", c.skip_norm_above,
          "skip a step whose gradient norm exceeds this many times its running mean; 0: never", at_least(0));
    field("ema", c.ema, "average the weights; evaluations use the average");
    field(
        "attention", c.attention,
        "how attention is computed: plain products and softmax, torch's fused kernel, or a fixed rule of device, type "
        "and tokens, which `triptych doctor` prints",
        one_of({"auto", "plain", "fused"}));
    field("activation_checkpointing", c.activation_checkpointing,
          "blocks keep their input only and run again in backward: less memory, a third more work, the same gradients");
    field("init_loss_scale", c.init_loss_scale,
          "fp16: first multiplier of the loss; halved after a step that overflows, doubled after 2,000 that do not",
          at_least(1));
    field("timeout_s", c.timeout_s, "seconds a rank waits for its peers in one collective", positive());
    field("verify_every", c.verify_every,
          "how often the ranks compare hashes of what all of them hold, to find a rank whose bits changed; also for "
          "each checkpoint, before it counts. 0: only then");
  }
  void validate() const {
    if (skip_norm_above > 0 && skip_norm_above <= 1) {
      throw FieldError("skip_norm_above", "a factor over the running mean must be > 1 (or 0 to skip nothing)");
    }
    if (precision != "fp16" && init_loss_scale != LoopConfig{}.init_loss_scale) {
      throw FieldError("init_loss_scale", "only precision: fp16 has a loss scale; remove it");
    }
  }
};

}  // namespace triptych
