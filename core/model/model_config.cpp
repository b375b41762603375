// Contradictions inside the `model` section.
#include "core/model/model_config.h"

namespace triptych {
namespace {

void check_divides(std::int64_t part, const char* part_name, std::int64_t whole, const char* whole_name) {
  if (whole % part != 0) {
    throw FieldError(part_name, std::to_string(part) + " does not divide " + whole_name + " " + std::to_string(whole) +
                                    "; choose a divisor of it");
  }
}

void check_mlp(double ratio, std::int64_t width) {
  if (ratio * static_cast<double>(width) < 1)
    throw FieldError("mlp_ratio", "leaves the MLP without hidden channels; raise it");
}

}  // namespace

void VitConfig::validate() const {
  check_divides(patch_size, "patch_size", image_size, "image_size");
  check_divides(heads, "heads", width, "width");
  check_mlp(mlp_ratio, width);
}

void SwinConfig::validate() const {
  check_divides(patch_size, "patch_size", image_size, "image_size");
  if (depths.empty() || depths.size() > 8) throw FieldError("depths", "1 to 8 stages are possible");
  if (heads.size() != depths.size()) throw FieldError("heads", "one number for each of the stages in depths");
  std::int64_t grid = image_size / patch_size, channels = width;
  for (std::size_t stage = 0; stage < depths.size(); ++stage, grid /= 2, channels *= 2) {
    const std::string name = "stage " + std::to_string(stage + 1);
    if (depths[stage] < 1) throw FieldError("depths", name + " needs at least one block");
    if (heads[stage] < 1 || channels % heads[stage] != 0)
      throw FieldError("heads", std::to_string(heads[stage]) + " does not divide the " + std::to_string(channels) +
                                    " channels of " + name + "; choose a divisor of it");
    if (grid > window && grid % window != 0)
      throw FieldError("window", std::to_string(window) + " does not divide the grid of " + name + ", " +
                                     std::to_string(grid) + " patches wide; change window, image_size or patch_size");
    if (stage + 1 < depths.size() && grid % 2 != 0)
      throw FieldError("image_size", "the grid of " + name + " is " + std::to_string(grid) +
                                         " patches wide and cannot be halved; choose a multiple of patch_size x 2^" +
                                         std::to_string(depths.size() - 1));
  }
  check_mlp(mlp_ratio, width);
}

void ResNetConfig::validate() const {
  if (depths.size() != 4) throw FieldError("depths", "four stages are needed: [3, 4, 6, 3] is ResNet-50");
  for (const auto blocks : depths)
    if (blocks < 1) throw FieldError("depths", "a stage needs at least one block");
  if (pool != "attention") {
    if (pool_heads != ResNetConfig{}.pool_heads)
      throw FieldError("pool_heads", "has no meaning with pool: " + pool + "; remove it or use pool: attention");
    return;
  }
  if (image_size % 32 != 0) throw FieldError("image_size", "pool: attention needs a multiple of 32");
  check_divides(pool_heads, "pool_heads", 32 * width, "32 x width");
}

void BertConfig::validate() const {
  check_divides(heads, "heads", width, "width");
  check_mlp(mlp_ratio, width);
  if (context > positions)
    throw FieldError("context", std::to_string(context) + " is more than positions " + std::to_string(positions));
}

void CausalTransformerConfig::validate() const {
  if (!trim && length_groups != 0)
    throw FieldError("length_groups", "has no meaning with trim: false, where no text is cut; remove one of them");
  check_divides(heads, "heads", width, "width");
  check_mlp(mlp_ratio, width);
}

std::int64_t vocabulary_size(const CausalTransformerConfig& config) {
  if (config.vocabulary > 0) return config.vocabulary;
  return config.tokenizer == "bert_wordpiece" ? 30522 : 49408;
}

std::optional<std::int64_t> end_token(const CausalTransformerConfig& config) {
  if (config.tokenizer == "bert_wordpiece") return 102;  // [SEP]
  return std::nullopt;
}

void ModelConfig::validate() const {
  const auto* resnet = std::get_if<ResNetConfig>(&image);
  if (resnet != nullptr && resnet->batch_norm == "frozen" && init_from.whole.empty() && init_from.image.empty())
    throw FieldError("image.batch_norm",
                     "frozen keeps running averages as they were loaded, but nothing is loaded; name "
                     "weights in init_from, or use synchronised");
}

void InitConfig::validate() const {
  if (!whole.empty() && !(image.empty() && text.empty())) {
    throw FieldError("whole", "already starts both towers; leave out image and text, or whole");
  }
}

}  // namespace triptych
