// A measurement on held-out data: sharded over ranks, exact counts whatever their number. One evaluator a file; the
// table of all of them is in evaluator_table.cpp. Evaluating draws nothing and changes no later training bit.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "core/objective/objective.h"
#include "distributed/collectives.h"

namespace triptych {

struct Metric {
  std::string name;  ///< "top1", "image_to_text_r5": without the evaluator's name
  double value = 0;  ///< shares are in [0, 1]
};

/// What an evaluator asks of an objective's encoders.
struct Needs {
  bool text = false;
  bool classify = false;
  bool match = false;
  bool patches = false;
  bool regions = false;
};

struct EvalScope {
  Collectives& comm;
  at::Device device = at::kCPU;
  TextForm text = {};  ///< how the model's text tower wants its tokens
  std::int64_t image_size = 224;
  std::int64_t batch = 64;                    ///< rows of one forward
  int workers = 1;                            ///< decode threads a rank
  std::vector<std::string> class_names = {};  ///< the training label table, for `classify`
};

class Evaluator {
 public:
  virtual ~Evaluator() = default;
  virtual std::string name() const = 0;  ///< "zero_shot", or the name that the entry gives it
  virtual Needs needs() const = 0;
  /// Throws ConfigError when the training labels lack a class that the evaluator must find among them. `class_names`:
  /// by concept id. For the start of a run; run() checks again.
  virtual void check_labels(const std::vector<std::string>& class_names) const { (void)class_names; }
  /// Of what run() gives, in its order. For the start of a run.
  virtual std::vector<std::string> metric_names() const = 0;
  /// Collective. Metrics in a fixed order, the same on every rank; includes sizes ("samples", "classes", "chance") that
  /// make the others readable.
  virtual std::vector<Metric> run(const Encoders& encoders, EvalScope& scope) = 0;
};

}  // namespace triptych
