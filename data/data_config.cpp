// Contradictions inside the data section.
#include "data/data_config.h"

#include <set>

namespace triptych {

void ShuffleConfig::validate() const {
  if (full && !enabled) throw FieldError("full", "is true, but enabled is false; set one of them the other way");
  if (full && lanes > 1) {
    throw FieldError("lanes", "is " + std::to_string(lanes) +
                                  ", but full mixes all records: no lane has its own shards; use lanes 1");
  }
}

void DataConfig::validate() const {
  if (corpora.empty()) throw FieldError("corpora", "is empty; name at least one corpus");
  std::set<std::string> names;
  for (std::size_t i = 0; i < corpora.size(); ++i) {
    const auto key = "corpora." + std::to_string(i) + ".name";
    if (corpora[i].name.empty()) throw FieldError(key, "is empty; the log and the errors call the corpus by its name");
    if (!names.insert(corpora[i].name).second) throw FieldError(key, "'" + corpora[i].name + "' stands twice");
  }
}

}  // namespace triptych
