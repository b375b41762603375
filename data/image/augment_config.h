// The `data.augment` section: one struct per recipe. A recipe has only the keys that it uses, so any other is refused.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <variant>

#include "core/base/config.h"

namespace triptych {

/// Channel statistics in [0, 1]: what is subtracted, and what is divided by.
struct PixelStatistics {
  std::array<double, 3> mean, std;
};

/// Normalisation: by name, or by numbers.
struct NormalizeSettings {
  std::string normalize = "clip";
  std::optional<std::array<double, 3>> mean, std;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("normalize", c.normalize, "channel statistics subtracted on the device; given: those of mean and std",
          one_of({"clip", "imagenet", "half", "given"}));
    field("mean", c.mean, "with normalize: given: mean per channel of pictures in [0, 1]", between(0, 1));
    field("std", c.std, "with normalize: given: deviation per channel", positive());
  }
  void validate() const;
  PixelStatistics statistics() const;
};

/// Random resized crop and flip (torchvision's rule).
struct CropSettings {
  std::array<double, 2> scale = {0.08, 1.0};
  std::array<double, 2> ratio = {0.75, 4.0 / 3.0};
  double flip = 0.5;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("scale", c.scale, "random resized crop: smallest and largest share of the area");
    field("ratio", c.ratio, "random resized crop: smallest and largest width / height");
    field("flip", c.flip, "probability of a horizontal flip", between(0, 1));
  }
  void validate() const;
};

struct ColorJitterConfig {
  double probability = 0.8, brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("probability", c.probability, "of jittering a view at all", between(0, 1));
    field("brightness", c.brightness, "b: the factor is uniform in [max(0, 1 - b), 1 + b]", at_least(0));
    field("contrast", c.contrast, "the same for contrast", at_least(0));
    field("saturation", c.saturation, "the same for saturation", at_least(0));
    field("hue", c.hue, "h: the hue turns by a share of the circle uniform in [-h, h]", between(0, 0.5));
  }
};

struct BlurConfig {
  double probability = 0.5;
  std::array<double, 2> radius = {0.1, 2.0};
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("probability", c.probability, "of blurring a view", between(0, 1));
    field("radius", c.radius, "smallest and largest deviation of the Gaussian, in pixels of the view", between(0, 100));
  }
  void validate() const;
};

/// TCL's ten operations.
struct TclRandAugmentConfig {
  std::int64_t operations = 2;
  double magnitude = 7, probability = 0.5;
  bool wrapping_autocontrast = true;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("operations", c.operations, "drawn with replacement for each view; 0: none", between(0, 16));
    field("magnitude", c.magnitude, "strength of each, of 10", between(0, 10));
    field("probability", c.probability, "of applying a drawn operation", between(0, 1));
    field("wrapping_autocontrast", c.wrapping_autocontrast,
          "AutoContrast as in TCL's code, where an unsigned negation makes channels white whose least value is not 0; "
          "false: as meant, stretched");
  }
};

/// timm's fifteen operations of increasing strength: rand-m9-mstd0.5-inc1.
struct TimmRandAugmentConfig {
  std::int64_t operations = 2;
  double magnitude = 9, magnitude_std = 0.5, probability = 0.5;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("operations", c.operations, "drawn with replacement for each view; 0: none", between(0, 16));
    field("magnitude", c.magnitude, "strength, of 10 (timm: m9)", between(0, 10));
    field("magnitude_std", c.magnitude_std, "deviation of the strength of each operation (timm: mstd0.5)", at_least(0));
    field("probability", c.probability, "of applying a drawn operation", between(0, 1));
  }
};

struct ErasingConfig {
  double probability = 0.25;
  std::array<double, 2> area = {0.02, 1.0 / 3.0};
  std::array<double, 2> ratio = {0.3, 10.0 / 3.0};
  std::string fill = "noise";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("probability", c.probability, "of erasing a box of a view", between(0, 1));
    field("area", c.area, "smallest and largest share of the view", between(0, 1));
    field("ratio", c.ratio, "smallest and largest height / width of the box", positive());
    field("fill", c.fill, "noise: normal noise of the channel statistics, as far as bytes hold it; mean: their mean",
          one_of({"noise", "mean"}));
  }
  void validate() const;
};

struct MixConfig {
  double mixup_alpha = 0, cutmix_alpha = 0, probability = 1, cutmix_share = 0.5;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("mixup_alpha", c.mixup_alpha, "mixup: weights are Beta(alpha, alpha); 0: no mixup", at_least(0));
    field("cutmix_alpha", c.cutmix_alpha, "cutmix: kept areas are Beta(alpha, alpha); 0: no cutmix", at_least(0));
    field("probability", c.probability, "of mixing a micro-batch", between(0, 1));
    field("cutmix_share", c.cutmix_share, "with both: share of the mixed micro-batches that are cut", between(0, 1));
  }
  bool enabled() const { return probability > 0 && (mixup_alpha > 0 || cutmix_alpha > 0); }
};

/// Nothing is drawn.
struct NoAugment : NormalizeSettings {
  static constexpr const char* kTagKey = "recipe";
  static constexpr const char* kTag = "none";
  std::string resize = "crop";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("resize", c.resize, "crop: short side to the size, then the centre; stretch: both sides to the size",
          one_of({"crop", "stretch"}));
    NormalizeSettings::fields(c, field);
  }
};

/// OpenCLIP's training view.
struct ClipAugment : CropSettings, NormalizeSettings {
  static constexpr const char* kTagKey = "recipe";
  static constexpr const char* kTag = "clip";
  ClipAugment() {
    scale = {0.9, 1.0};
    flip = 0;
  }
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    CropSettings::fields(c, field);
    NormalizeSettings::fields(c, field);
  }
  void validate() const;
};

/// TCL's (and ALBEF's) pre-training view.
struct TclAugment : CropSettings, NormalizeSettings {
  static constexpr const char* kTagKey = "recipe";
  static constexpr const char* kTag = "tcl";
  ColorJitterConfig color_jitter;
  double grayscale = 0.2;
  BlurConfig blur;
  TclRandAugmentConfig rand_augment;
  TclAugment() { scale = {0.2, 1.0}; }
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    CropSettings::fields(c, field);
    field("color_jitter", c.color_jitter, "brightness, contrast, saturation and hue, in drawn order");
    field("grayscale", c.grayscale, "probability of a grey view", between(0, 1));
    field("blur", c.blur, "Gaussian blur");
    field("rand_augment", c.rand_augment, "RandAugment with TCL's ten operations");
    NormalizeSettings::fields(c, field);
  }
  void validate() const;
};

/// timm's view for training on ImageNet, as UniCL configures it.
struct ImagenetAugment : CropSettings, NormalizeSettings {
  static constexpr const char* kTagKey = "recipe";
  static constexpr const char* kTag = "imagenet";
  TimmRandAugmentConfig rand_augment;
  ErasingConfig erasing;
  MixConfig mix;
  ImagenetAugment() { normalize = "imagenet"; }
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    CropSettings::fields(c, field);
    field("rand_augment", c.rand_augment, "RandAugment with timm's fifteen operations");
    field("erasing", c.erasing, "random erasing");
    field("mix", c.mix, "mixup and cutmix; every record needs a label, the objective must take mixed ones");
    NormalizeSettings::fields(c, field);
  }
  void validate() const;
};

using AugmentConfig = std::variant<ClipAugment, NoAugment, TclAugment, ImagenetAugment>;

/// Channel statistics of the recipe.
PixelStatistics pixel_statistics(const AugmentConfig& config);

/// How rows are mixed; disabled for recipes that never do.
MixConfig mix_settings(const AugmentConfig& config);

}  // namespace triptych
