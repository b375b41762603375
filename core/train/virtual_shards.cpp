// Whatever looks at the rows of one rank, or adds in the order of ranks, is refused.
#include "core/train/virtual_shards.h"

#include <string>
#include <variant>
#include <vector>

#include "core/base/errors.h"
#include "core/base/strings.h"

namespace triptych {
namespace {

constexpr const char* kSetting = "distributed.virtual_shards";

std::string divisors(std::int64_t number) {
  std::vector<std::string> all;
  for (std::int64_t d = 1; d <= number; ++d)
    if (number % d == 0) all.push_back(std::to_string(d));
  return join(all, ", ");
}

void check_objective(const ObjectiveConfig& objective) {
  if (std::holds_alternative<TclConfig>(objective)) {
    throw FieldError("objective.name",
                     "tcl takes its pairs and negatives among the rows of a micro-batch and of a rank, which "
                     "distributed.virtual_shards rules out; use unicl, clip, siglip, supcon or cross_entropy, or 0 "
                     "shards");
  }
  if (std::holds_alternative<LoupeConfig>(objective)) {
    throw FieldError("objective.name",
                     "loupe averages its games over what the rows of a rank hold, which distributed.virtual_shards "
                     "rules out; use unicl, clip, siglip, supcon or cross_entropy, or 0 shards");
  }
  std::visit(
      [&](const auto& config) {
        if constexpr (requires { config.exchange; }) {
          if (config.exchange == "ring")
            throw FieldError("objective.exchange",
                             "ring adds up in the order of the ranks, which distributed.virtual_shards rules out; use "
                             "gather");
        }
      },
      objective);
}

}  // namespace

void check_virtual_shards(const TrainConfig& config) {
  const auto shards = config.distributed.virtual_shards, batch = config.train.global_batch;
  if (shards == 0) return;
  if (batch % shards != 0) {
    throw FieldError(kSetting, std::to_string(shards) + " shards do not divide train.global_batch " +
                                   std::to_string(batch) + "; use one of " + divisors(batch) + ", or 0 for none");
  }
  if (config.train.micro_batch != 0 && config.train.micro_batch != batch / shards) {
    throw FieldError("train.micro_batch", std::to_string(config.train.micro_batch) +
                                              ", but a micro-batch is one of the " + std::to_string(shards) +
                                              " shards of " + kSetting + " and has " + std::to_string(batch / shards) +
                                              " rows; leave it out");
  }
  if (std::holds_alternative<ResNetConfig>(config.model.image)) {
    throw FieldError("model.image.type",
                     "resnet normalises over the rows of a rank's micro-batch and the ranks beside it, which "
                     "distributed.virtual_shards rules out; use vit or swin, or 0 shards");
  }
  check_objective(config.objective);
}

void check_ranks_of_shards(std::int64_t shards, std::int64_t ranks) {
  if (shards == 0 || shards % ranks == 0) return;
  throw ConfigError(std::string(kSetting) + ": " + std::to_string(shards) + " shards do not divide among " +
                    std::to_string(ranks) + " ranks; start one of " + divisors(shards) + " ranks");
}

}  // namespace triptych
