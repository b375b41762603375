// How often the classes of a configuration are named in captions (UniCL's concept counts): `triptych data concepts`.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/corpus.h"

namespace triptych {

/// Concepts by any of their names. Classes of different corpora that share a name are one concept, names compared as
/// for training (normalized_name). In captions a concept is found by its words (see words_of).
class ConceptNames {
 public:
  /// Adds the classes of a corpus. Returns the concept of each class.
  std::vector<std::int64_t> add(const std::vector<std::vector<std::string>>& class_names);
  std::int64_t size() const { return static_cast<std::int64_t>(shown_.size()); }
  /// The first name that was added of a concept.
  const std::string& name(std::int64_t concept_id) const { return shown_.at(static_cast<std::size_t>(concept_id)); }
  /// The concept that is called exactly so; -1 when none is.
  std::int64_t find(const std::string& words) const;
  std::size_t most_words() const { return most_words_; }

 private:
  std::unordered_map<std::string, std::int64_t> by_name_;   // normalised: which classes are one
  std::unordered_map<std::string, std::int64_t> by_words_;  // as captions are searched: "C" for C and C++, the first
  std::vector<std::string> shown_;
  std::size_t most_words_ = 0;
};

struct ConceptCount {
  std::int64_t occurrences = 0;  ///< in captions
  std::int64_t records = 0;      ///< image_text records with a caption that names it
  std::int64_t labelled = 0;     ///< image_label records of the class
};

struct ConceptRequest {
  int threads = 1;
  std::function<void(std::int64_t done)> progress = {};  ///< may be empty
};

/// Counts by concept. Captions: every n-gram of words that is a name counts once for each time it occurs, also inside
/// a longer name ("golden retriever" counts for retriever too). Labels: once a record, `concept_of` the class. Records
/// that cannot be read are left out. Pictures are not decoded.
std::vector<ConceptCount> count_concepts(const Corpus& corpus, const ConceptNames& names,
                                         const std::vector<std::int64_t>& concept_of, const ConceptRequest& request);

}  // namespace triptych
