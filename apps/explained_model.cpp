// Weights by checkpoint_model; the rest of the objective's state here.
#include "apps/explained_model.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <set>
#include <variant>

#include "core/module/safetensors.h"
#include "core/train/state_snapshot.h"

namespace triptych {
namespace {

/// Gives an objective what its checkpoint holds besides the model's own tensors.
class RestOfState : public StateVisitor {
 public:
  RestOfState(const std::filesystem::path& checkpoint, const Module& module)
      : model_names_(names_of_model(module)), state_(checkpoint / "state.safetensors") {}
  void tensor(const std::string& name, at::Tensor& tensor) override {
    if (model_names_.contains(name)) return;
    const c10::NoGradGuard no_grad;
    const auto stored = state_.read(name);
    if (stored.sizes() != tensor.sizes() || stored.scalar_type() != tensor.scalar_type())
      throw CheckpointError(name + " has another shape in the checkpoint's state than in this program's objective");
    tensor.copy_(stored);
  }
  void integer(const std::string& name, std::int64_t& value) override {
    value = state_.read(name).item<std::int64_t>();
  }
  void real(const std::string& name, double& value) override { value = state_.read(name).item<double>(); }
  void text(const std::string& name, std::string& value) override {
    const auto bytes = state_.read(name);
    value.assign(static_cast<const char*>(bytes.const_data_ptr()), static_cast<std::size_t>(bytes.numel()));
  }

 private:
  std::set<std::string> model_names_;
  SafetensorsReader state_;
};

constexpr std::int64_t kWordCoalitions = 16;

}  // namespace

ExplainedModel load_explained_model(const std::filesystem::path& path, at::Device device, Weights weights,
                                    const std::string& who) {
  ExplainedModel found;
  found.checkpoint = choose_checkpoint(path);
  found.trained = saved_config(found.checkpoint.folder);
  found.model = load_checkpoint_model(found.trained, found.checkpoint.folder, device, /*with_labels=*/false, weights);
  found.encoders = found.model.objective->encoders();
  if (!found.encoders.explain) {
    const auto tag = std::visit([](const auto& c) { return std::string(c.kTag); }, found.trained.objective);
    throw ConfigError(who + ": objective " + tag + " of " + found.checkpoint.folder.string() +
                      " has no regions that play with words or phrases; give a checkpoint of one that learns from "
                      "interactions, such as loupe with a weight above 0 for tokens or phrases");
  }
  RestOfState rest(found.checkpoint.folder, found.model.objective->module());
  found.model.objective->visit_state(rest);
  return found;
}

RegionSampling careful_sampling(const PairGames& games, std::int64_t coalitions) {
  return {.sampler = "antithetic",
          .coalitions = coalitions,
          .members = games.sampling.members,
          .text_samples = games.words <= kMostExactWords ? 0 : kWordCoalitions};
}

at::Tensor exact_interactions(const PairGames& games) {
  const auto regions = games.cosine_MP.size(0), phrases = games.cosine_MP.size(1);
  const bool renormalised = games.phrase_game.absent == AbsentPlayers::kRenormalised;
  if (renormalised && std::max(regions, phrases) > kMostRenormalised)
    throw ConfigError("interactions under convention renormalised are enumerated for at most " +
                      std::to_string(kMostRenormalised) + " regions and phrases, got " + std::to_string(regions) +
                      " and " + std::to_string(phrases));
  if (phrases == 0) return at::zeros({regions, 0}, at::kDouble);
  return semantic_interactions(games.cosine_MP.unsqueeze(0), {}, {}, games.phrase_game)[0];
}

}  // namespace triptych
