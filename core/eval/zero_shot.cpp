// Pictures against class embeddings.
#include "core/eval/zero_shot.h"

#include <ATen/ATen.h>

#include <utility>

#include "core/eval/text_rows.h"
#include "core/eval/top_counts.h"
#include "data/text/prompts.h"

namespace triptych {

ZeroShot::ZeroShot(const ZeroShotConfig& config, std::unique_ptr<Corpus> corpus, const DecodeConfig& decode)
    : name_(config.label.empty() ? ZeroShotConfig::kTag : config.label),
      templates_(load_prompts(config.prompts)),
      held_out_(std::move(corpus), decode, "image_label", name_) {}

std::vector<Metric> ZeroShot::run(const Encoders& encoders, EvalScope& scope) {
  const auto& names = held_out_.corpus().class_names();
  const auto class_Cd = encode_classes(names, templates_, encoders, scope);
  TopCounts counts(static_cast<std::int64_t>(names.size()));
  std::int64_t unusable = held_out_.for_each_block(scope, [&](const EvalRows& rows) {
    counts.add(as_float(encoders.image(rows.images)).mm(class_Cd.t()), rows.labels);
  });
  held_out_.require_rows(counts.reduce(scope.comm));
  auto metrics = counts.metrics();
  metrics.push_back({"unusable", static_cast<double>(scope.comm.sum(unusable))});
  return metrics;
}

}  // namespace triptych
