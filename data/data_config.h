// The `data` section: corpora, mixing, order, augmentation, decoding.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/config.h"
#include "data/corpus_config.h"
#include "data/image/augment_config.h"

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

struct DecodeConfig {
  std::string alpha = "white";
  std::string exif = "apply";
  std::int64_t max_pixels = 64 << 20;
  bool scaled = false;
  std::string test_resize = "crop";
  std::int64_t test_short_side = 0;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("alpha", c.alpha, "transparent pictures: blended onto white, or the channel dropped",
          one_of({"white", "drop"}));
    field("exif", c.exif, "orientation tag of JPEG pictures", one_of({"apply", "ignore"}));
    field("max_pixels", c.max_pixels, "larger pictures are refused from the header", at_least(1));
    field("scaled", c.scaled,
          "training: large JPEG pictures are decoded at 1/2, 1/4 or 1/8 of their size where the crop still shrinks; "
          "false: all pixels, as other programs do");
    field("test_resize", c.test_resize,
          "held-out pictures: short side to the size, then the centre (crop), or both sides to the size (stretch)",
          one_of({"crop", "stretch"}));
    field("test_short_side", c.test_short_side,
          "test_resize: crop: the short side before the centre is cut, at least the size (256 for pictures of 224); 0: "
          "the size",
          between(0, 65536));
  }
  void validate() const;
};

/// What `epochs` in durations and logs count by, where it is not all records: exactly one of the two.
struct EpochConfig {
  std::string corpus;
  std::int64_t samples = 0;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("corpus", c.corpus, "mixing: weighted: an epoch ends when this corpus was walked once");
    field("samples", c.samples, "an epoch is this many samples", at_least(0));
  }
  void validate() const;
};

struct CaptionsConfig {
  std::int64_t all_positive = 1;
  template <class Self, class Visit>
  static void fields(Self& c, Visit&& field) {
    field("all_positive", c.all_positive,
          "texts of a picture in one batch, all of them its positives: as many different captions (or prompts) as it "
          "has, drawn anew in every epoch and repeated if they are fewer",
          between(1, 64));
  }
};

struct DataConfig {
  std::vector<CorpusConfig> corpora;
  std::string mixing = "proportional";
  std::string labels = "merge";
  std::string batch_sources = "mixed";
  std::optional<EpochConfig> epoch;
  CaptionsConfig captions;
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
    field("labels", c.labels,
          "classes of different corpora whose names are equal up to case, blanks, _ and -: one label, or one each",
          one_of({"merge", "separate"}));
    field("batch_sources", c.batch_sources,
          "mixed: every batch holds records of all corpora; single: each global batch is of one corpus, and the quotas "
          "count batches",
          one_of({"mixed", "single"}));
    field("epoch", c.epoch, "what an epoch is, if not as many samples as all corpora have records");
    field("captions", c.captions, "how many texts a picture comes with");
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
    field("error_budget", c.error_budget,
          "distinct bad records, as a share of all records, that a run bears; ten in any case", between(0, 1));
  }
  void validate() const;
};

/// How many distinct bad records are allowed among `records`: the share `error_budget`, and ten in any case.
std::int64_t allowed_bad_records(double error_budget, std::int64_t records);

}  // namespace triptych
