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

void CausalTransformerConfig::validate() const {
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

void InitConfig::validate() const {
  if (!whole.empty() && !(image.empty() && text.empty())) {
    throw FieldError("whole", "already starts both towers; leave out image and text, or whole");
  }
}

}  // namespace triptych
