// Class names of two corpora, compared as the label table compares them.
#include "core/eval/class_match.h"

#include <unordered_map>

#include "core/base/errors.h"
#include "data/formats/class_names.h"

namespace triptych {

std::vector<std::int64_t> match_classes(const std::vector<std::vector<std::string>>& names,
                                        const std::vector<std::vector<std::string>>& known, const std::string& what) {
  std::unordered_map<std::string, std::int64_t> index_of;
  for (std::size_t index = 0; index < known.size(); ++index) {
    for (const auto& name : known[index]) index_of.emplace(normalized_name(name), static_cast<std::int64_t>(index));
  }
  std::vector<std::int64_t> matches;
  std::string missing;
  std::size_t num_missing = 0;
  for (const auto& synonyms : names) {
    std::int64_t match = -1;
    for (const auto& name : synonyms) {
      const auto found = index_of.find(normalized_name(name));
      if (found != index_of.end() && match < 0) match = found->second;
    }
    if (match < 0 && ++num_missing <= 5) missing += (missing.empty() ? "'" : ", '") + synonyms.front() + "'";
    matches.push_back(match);
  }
  if (num_missing > 0) {
    throw ConfigError(what + " do not share all classes: " + std::to_string(num_missing) + " of " +
                      std::to_string(names.size()) + " have no counterpart (" + missing +
                      (num_missing > 5 ? ", ..." : "") + "); rename them in class_names or remove the records");
  }
  return matches;
}

}  // namespace triptych
