// The `data` section: corpora, mixing, order, augmentation, decoding.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "data/corpus_config.h"

namespace triptych {

struct ShuffleConfig {
  bool enabled = true;
  std::int64_t window = 8192;
  std::int64_t lanes = 1;
  bool full = false;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("enabled", c.enabled, "false: records in the order of the corpus, every epoch alike");
    field("window", c.window, "records that are mixed at a time after the shards were: reading stays sequential",
          at_least(1));
    field("lanes", c.lanes, "each lane walks its own shards; ranks that divide the lanes read disjoint shards",
          at_least(1));
    field("full", c.full, "one permutation of all records instead of shards and windows: for local, fast disks");
  }
  void validate() const;
};

struct AugmentConfig {
  std::string recipe = "clip";
  std::array<double, 2> scale = {0.9, 1.0};
  std::array<double, 2> ratio = {0.75, 4.0 / 3.0};
  double flip = 0.0;
  std::string normalize = "clip";
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("recipe", c.recipe, "none: resize and centre crop; clip: random resized crop", one_of({"none", "clip"}));
    field("scale", c.scale, "random resized crop: smallest and largest share of the area");
    field("ratio", c.ratio, "random resized crop: smallest and largest width / height");
    field("flip", c.flip, "probability of a horizontal flip", between(0, 1));
    field("normalize", c.normalize, "channel statistics subtracted on the device",
          one_of({"clip", "imagenet", "half"}));
  }
  void validate() const;
};

struct DecodeConfig {
  std::string alpha = "white";
  std::string exif = "apply";
  std::int64_t max_pixels = 64 << 20;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("alpha", c.alpha, "transparent pictures: blended onto white, or the channel dropped",
          one_of({"white", "drop"}));
    field("exif", c.exif, "orientation tag of JPEG pictures", one_of({"apply", "ignore"}));
    field("max_pixels", c.max_pixels, "larger pictures are refused from the header", at_least(1));
  }
};

struct DataConfig {
  std::vector<CorpusConfig> corpora;
  std::string mixing = "proportional";
  ShuffleConfig shuffle;
  AugmentConfig augment;
  DecodeConfig decode;
  std::string prompts = "clip81";
  std::string index_dir;
  std::int64_t workers = 1;
  std::int64_t prefetch = 2;
  double error_budget = 0.01;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("corpora", c.corpora, "the sources, mixed into one stream");
    field("mixing", c.mixing, "proportional: each record once an epoch; weighted: exact quotas by weight",
          one_of({"proportional", "weighted"}));
    field("shuffle", c.shuffle, "order of the records");
    field("augment", c.augment, "what happens to a training picture");
    field("decode", c.decode, "how pictures become RGB");
    field("prompts", c.prompts,
          "templates for class names: clip81 (drawn per sample), plain (the bare name), or a text file");
    field("index_dir", c.index_dir,
          "where index files of all corpora, held-out ones too, are written (a corpus may name its own); empty: beside "
          "each shard");
    field("workers", c.workers, "decode threads a rank", between(1, 256));
    field("prefetch", c.prefetch, "batches that are decoded ahead", between(1, 64));
    field("error_budget", c.error_budget, "distinct bad records, as a share of an epoch, that stop the run",
          between(0, 1));
  }
  void validate() const;
};

/// How many distinct bad records are allowed among `records`: the share `error_budget`, and ten in any case.
std::int64_t allowed_bad_records(double error_budget, std::int64_t records);

}  // namespace triptych
