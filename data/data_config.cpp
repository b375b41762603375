// Contradictions inside the data section.
#include "data/data_config.h"

#include <algorithm>
#include <set>

namespace triptych {

void ShuffleConfig::validate() const {
  if (full && !enabled) throw FieldError("full", "is true, but enabled is false; set one of them the other way");
  if (full && lanes > 1) {
    throw FieldError("lanes", "is " + std::to_string(lanes) +
                                  ", but full mixes all records: no lane has its own shards; use lanes 1");
  }
}

void AugmentConfig::validate() const {
  if (!(scale[0] > 0 && scale[0] <= scale[1] && scale[1] <= 1)) {
    throw FieldError("scale", "must be [low, high] with 0 < low <= high <= 1");
  }
  if (!(ratio[0] > 0 && ratio[0] <= ratio[1])) throw FieldError("ratio", "must be [low, high] with 0 < low <= high");
}

void DataConfig::validate() const {
  if (corpora.empty()) throw FieldError("corpora", "is empty; name at least one corpus");
  std::set<std::string> names;
  for (std::size_t i = 0; i < corpora.size(); ++i) {
    const auto key = "corpora." + std::to_string(i) + ".name";
    if (corpora[i].name.empty()) throw FieldError(key, "is empty; the log and the errors call the corpus by its name");
    if (!names.insert(corpora[i].name).second) throw FieldError(key, "'" + corpora[i].name + "' stands twice");
    if (mixing == "proportional" && corpora[i].weight != 1) {
      throw FieldError("corpora." + std::to_string(i) + ".weight",
                       "means something with data.mixing: weighted only; proportional uses each record once an epoch");
    }
  }
}

std::int64_t allowed_bad_records(double error_budget, std::int64_t records) {
  return std::max<std::int64_t>(10, static_cast<std::int64_t>(error_budget * static_cast<double>(records)));
}

}  // namespace triptych
