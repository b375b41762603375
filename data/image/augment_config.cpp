// Contradictions inside data.augment, and what other parts ask of any recipe.
#include "data/image/augment_config.h"

namespace triptych {
namespace {

void check_range(const std::array<double, 2>& range, const char* key) {
  if (!(range[0] > 0 && range[0] <= range[1])) throw FieldError(key, "must be [low, high] with 0 < low <= high");
}

void check_share(const std::array<double, 2>& range, const char* key) {
  if (!(range[0] > 0 && range[0] <= range[1] && range[1] <= 1)) {
    throw FieldError(key, "must be [low, high] with 0 < low <= high <= 1");
  }
}

}  // namespace

void NormalizeSettings::validate() const {
  const bool given = normalize == "given";
  if (given && (!mean || !std)) {
    throw FieldError("normalize", "is given, but there is no " + std::string(mean ? "std" : "mean") + "; name both");
  }
  if (!given && (mean || std)) {
    throw FieldError(mean ? "mean" : "std", "is not used with normalize: " + normalize + "; set normalize: given");
  }
}

PixelStatistics NormalizeSettings::statistics() const {
  if (normalize == "given") return {*mean, *std};
  if (normalize == "imagenet") return {{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
  if (normalize == "half") return {{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}};
  return {{0.48145466, 0.4578275, 0.40821073}, {0.26862954, 0.26130258, 0.27577711}};
}

void CropSettings::validate() const {
  check_share(scale, "scale");
  check_range(ratio, "ratio");
}

void BlurConfig::validate() const {
  if (radius[0] > radius[1]) throw FieldError("radius", "must be [low, high] with low <= high");
}

void ErasingConfig::validate() const {
  check_share(area, "area");
  check_range(ratio, "ratio");
}

void ClipAugment::validate() const {
  CropSettings::validate();
  NormalizeSettings::validate();
}

void TclAugment::validate() const {
  CropSettings::validate();
  NormalizeSettings::validate();
}

void ImagenetAugment::validate() const {
  CropSettings::validate();
  NormalizeSettings::validate();
}

PixelStatistics pixel_statistics(const AugmentConfig& config) {
  return std::visit([](const auto& recipe) { return recipe.statistics(); }, config);
}

MixConfig mix_settings(const AugmentConfig& config) {
  const auto* imagenet = std::get_if<ImagenetAugment>(&config);
  return imagenet ? imagenet->mix : MixConfig{};
}

}  // namespace triptych
