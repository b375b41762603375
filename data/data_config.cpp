// Contradictions inside the data section.
#include "data/data_config.h"

#include <algorithm>
#include <set>

#include "core/base/strings.h"

namespace triptych {

void ShuffleConfig::validate() const {
  if (full && !enabled) throw FieldError("full", "is true, but enabled is false; set one of them the other way");
  if (!enabled && lanes > 1)
    throw FieldError("lanes", "is set, but enabled is false: nothing is shuffled; use lanes 1");
  if (!enabled && window != ShuffleConfig{}.window)
    throw FieldError("window", "is set, but enabled is false: nothing is shuffled; leave it out");
  if (full && window != ShuffleConfig{}.window) {
    throw FieldError("window", "is set, but full mixes all records at once; remove one of them");
  }
  if (full && lanes > 1) {
    throw FieldError("lanes", "is " + std::to_string(lanes) +
                                  ", but full mixes all records: no lane has its own shards; use lanes 1");
  }
}

void DecodeConfig::validate() const {
  if (test_short_side > 0 && test_resize != "crop") {
    throw FieldError("test_short_side", "is set, but test_resize: " + test_resize +
                                            " takes both sides to the size; leave it out, or use test_resize: crop");
  }
}

void EpochConfig::validate() const {
  if (corpus.empty() == (samples == 0)) {
    throw FieldError("corpus", "an epoch is defined by exactly one of corpus and samples");
  }
}

void DataConfig::validate() const {
  if (corpora.empty()) throw FieldError("corpora", "is empty; name at least one corpus");
  std::set<std::string> names, phrases;
  for (std::size_t i = 0; i < corpora.size(); ++i) {
    const auto key = "corpora." + std::to_string(i) + ".name";
    if (corpora[i].name.empty()) throw FieldError(key, "is empty; the log and the errors call the corpus by its name");
    if (!names.insert(corpora[i].name).second) throw FieldError(key, "'" + corpora[i].name + "' stands twice");
    if (!corpora[i].phrases.empty() && !phrases.insert(corpora[i].phrases).second)
      throw FieldError("corpora." + std::to_string(i) + ".phrases",
                       "'" + corpora[i].phrases + "' stands twice; a file of phrases belongs to one corpus");
    if (mixing == "proportional" && corpora[i].weight != 1) {
      throw FieldError("corpora." + std::to_string(i) + ".weight",
                       "means something with data.mixing: weighted only; proportional uses each record once an epoch");
    }
  }
  if (!epoch || epoch->corpus.empty()) return;
  if (!names.contains(epoch->corpus)) {
    throw FieldError("epoch.corpus", "no corpus is called '" + epoch->corpus +
                                         "'; there are: " + join({names.begin(), names.end()}, ", "));
  }
  if (mixing != "weighted") {
    throw FieldError("epoch.corpus",
                     "mixing is proportional: every corpus is walked once in an epoch of all records "
                     "anyway; leave it out, or use mixing: weighted");
  }
}

std::int64_t allowed_bad_records(double error_budget, std::int64_t records) {
  return std::max<std::int64_t>(10, static_cast<std::int64_t>(error_budget * static_cast<double>(records)));
}

}  // namespace triptych
