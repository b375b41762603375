// A configuration with every type that a field may have, shaped like a run's.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/base/config.h"
#include "core/base/duration.h"

namespace triptych::example {

struct CorpusSection {
  std::string name;
  std::string kind = "image_text";
  std::filesystem::path path;
  std::vector<std::string> caption_keys = {"txt"};
  double weight = 1;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("name", c.name, "how errors call it");
    field("kind", c.kind, "captions or class names", one_of({"image_text", "image_label"}));
    field("path", c.path, "files");
    field("caption_keys", c.caption_keys, "members with captions");
    field("weight", c.weight, "share in the mixture", positive());
  }
  void validate() const {
    if (name.empty()) throw FieldError("name", "a corpus needs a name");
  }
};

struct ShuffleSection {
  std::int64_t window = 8192;
  bool full = false;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("window", c.window, "records mixed at a time", at_least(1));
    field("full", c.full, "one permutation of everything");
  }
};

struct DataSection {
  std::vector<CorpusSection> corpora;
  ShuffleSection shuffle;
  std::array<double, 2> scale = {0.9, 1.0};
  std::int64_t workers = 1;
  double error_budget = 0.01;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("corpora", c.corpora, "the sources");
    field("shuffle", c.shuffle, "order of the records");
    field("scale", c.scale, "smallest and largest share | of the area", between(0, 1));
    field("workers", c.workers, "decode threads", between(1, 256));
    field("error_budget", c.error_budget, "bad records that stop the run", between(0, 1));
  }
};

struct VitSection {
  static constexpr const char* kTagKey = "type";
  static constexpr const char* kTag = "vit";
  std::int64_t width = 768, heads = 12;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("width", c.width, "channels", at_least(1));
    field("heads", c.heads, "attention heads", at_least(1));
  }
  void validate() const {
    if (width % heads != 0) throw FieldError("heads", std::to_string(heads) + " does not divide width");
  }
};

struct SwinSection {
  static constexpr const char* kTagKey = "type";
  static constexpr const char* kTag = "swin";
  std::int64_t window = 7;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("window", c.window, "patches", at_least(1));
  }
};

struct ModelSection {
  std::variant<VitSection, SwinSection> image;
  std::int64_t embed_dim = 512;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("image", c.image, "image tower");
    field("embed_dim", c.embed_dim, "width of the embedding", at_least(1));
  }
};

struct UniclSection {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "unicl";
  std::string directions = "both";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("directions", c.directions, "which softmax", one_of({"both", "rows", "columns"}));
  }
};

struct LoupeSection {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "loupe";
  double temperature = 0.07;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("temperature", c.temperature, "divides similarities", positive());
  }
};

struct OptimizerSection {
  std::string name = "adamw";
  double lr = 1e-3;
  double eps = 1e-8;
  std::array<double, 2> betas = {0.9, 0.98};
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("name", c.name, "which optimizer", one_of({"adamw"}));
    field("lr", c.lr, "peak learning rate", positive());
    field("eps", c.eps, "added to the root", positive());
    field("betas", c.betas, "decay rates");
  }
};

struct ScheduleSection {
  Duration total = epochs(10);
  Duration warmup = steps(0);
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("total", c.total, "length of the run");
    field("warmup", c.warmup, "linear rise");
  }
  void validate() const {
    if (warmup.unit == total.unit && warmup.value > total.value) {
      throw FieldError("warmup", warmup.text() + " is longer than total " + total.text());
    }
  }
};

struct KeepBestSection {
  std::string metric;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("metric", c.metric, "name in metrics.jsonl");
  }
};

struct EvalKnn {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "knn";
  std::string label;
  std::int64_t k = 20;
  Duration every = epochs(1);
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("label", c.label, "name in the metrics");
    field("k", c.k, "neighbours", at_least(1));
    field("every", c.every, "how often");
  }
};

struct EvalRetrieval {
  static constexpr const char* kTagKey = "name";
  static constexpr const char* kTag = "retrieval";
  std::string label;
  Duration every = epochs(1);
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("label", c.label, "name in the metrics");
    field("every", c.every, "how often");
  }
};

struct Config {
  std::string run_name = "run";
  DataSection data;
  ModelSection model;
  std::variant<UniclSection, LoupeSection> objective;
  OptimizerSection optimizer;
  ScheduleSection schedule;
  std::optional<KeepBestSection> keep_best;
  std::optional<double> clip_norm;
  std::vector<std::variant<EvalKnn, EvalRetrieval>> eval;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("run_name", c.run_name, "name of the run");
    field("data", c.data, "corpora and order");
    field("model", c.model, "towers");
    field("objective", c.objective, "the method that is trained");
    field("optimizer", c.optimizer, "the update");
    field("schedule", c.schedule, "length");
    field("keep_best", c.keep_best, "one checkpoint more stays");
    field("clip_norm", c.clip_norm, "gradients are scaled down to this norm", positive());
    field("eval", c.eval, "measurements");
  }
  void validate() const {
    for (std::size_t i = 1; i < eval.size(); ++i) {
      if (eval[i].index() == eval[0].index()) {
        throw FieldError("eval." + std::to_string(i) + ".label", "needs a label of its own");
      }
    }
    if (optimizer.lr > 100) throw FieldError("optimizer.lr", "is no learning rate");
  }
};

}  // namespace triptych::example
