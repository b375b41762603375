// All corpora of a run and the one table of their class names.
#include <unordered_map>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "data/formats/class_names.h"
#include "data/formats/printable.h"
#include "data/loader.h"

namespace triptych {
namespace {

std::vector<float> as_floats(const std::array<double, 3>& values) {
  return {static_cast<float>(values[0]), static_cast<float>(values[1]), static_cast<float>(values[2])};
}

/// Concept ids by normalised name. Classes of different corpora that share a name become one concept with all their
/// names.
class LabelTable {
 public:
  std::vector<std::int64_t> add(const std::string& corpus, const ClassNames& classes) {
    std::vector<std::int64_t> ids;
    std::unordered_map<std::int64_t, std::string> taken;  // by this corpus: its class of that id
    for (const auto& class_names : classes) {
      const auto id = find_or_make(corpus, class_names);
      const auto [other, fresh] = taken.try_emplace(id, class_names.front());
      if (!fresh) fail(corpus, other->second, class_names.front());
      ids.push_back(id);
    }
    return ids;
  }

  ClassNames names;

 private:
  [[noreturn]] static void fail(const std::string& corpus, const std::string& one, const std::string& other) {
    throw ConfigError("corpus " + printable(corpus) + ": classes '" + printable(one) + "' and '" + printable(other) +
                      "' would become one label, because names shared with another corpus join them; rename one");
  }

  std::int64_t find_or_make(const std::string& corpus, const std::vector<std::string>& class_names) {
    std::int64_t id = -1;
    for (const auto& name : class_names) {
      const auto found = by_name_.find(normalized_name(name));
      if (found == by_name_.end()) continue;
      if (id >= 0 && found->second != id) {
        fail(corpus, names[static_cast<std::size_t>(id)].front(),
             names[static_cast<std::size_t>(found->second)].front());
      }
      id = found->second;
    }
    if (id < 0) {
      id = static_cast<std::int64_t>(names.size());
      names.emplace_back();
    }
    for (const auto& name : class_names) {
      if (by_name_.try_emplace(normalized_name(name), id).second) names[static_cast<std::size_t>(id)].push_back(name);
    }
    return id;
  }

  std::unordered_map<std::string, std::int64_t> by_name_;
};

}  // namespace

struct CorpusSet::Impl {
  std::vector<std::unique_ptr<Corpus>> corpora;
  LabelTable table;
  std::vector<std::vector<std::int64_t>> label_ids;  // [corpus][local label]
  PixelStatistics pixels;
  std::int64_t size = 0;
};

CorpusSet::CorpusSet(const DataConfig& config) : impl_(std::make_unique<Impl>()) {
  impl_->pixels = pixel_statistics(config.augment);
  for (auto part : config.corpora) {
    if (part.index_dir.empty()) part.index_dir = config.index_dir;
    auto corpus = open_corpus(part);
    impl_->label_ids.push_back(impl_->table.add(part.name, corpus->class_names()));
    impl_->size += corpus->size();
    impl_->corpora.push_back(std::move(corpus));
  }
}

CorpusSet::~CorpusSet() = default;

const std::vector<std::unique_ptr<Corpus>>& CorpusSet::corpora() const {
  return impl_->corpora;
}

const std::vector<std::vector<std::string>>& CorpusSet::class_names() const {
  return impl_->table.names;
}

std::int64_t CorpusSet::global_label(int corpus, std::int64_t local_label) const {
  return impl_->label_ids.at(static_cast<std::size_t>(corpus)).at(static_cast<std::size_t>(local_label));
}

std::int64_t CorpusSet::size() const {
  return impl_->size;
}

CorpusFacts CorpusSet::facts(std::int64_t global_batch) const {
  CorpusFacts facts;
  facts.num_labels = static_cast<std::int64_t>(class_names().size());
  facts.records_per_epoch = size();
  facts.steps_per_epoch = std::max<std::int64_t>(size() / global_batch, 1);
  for (const auto& names : class_names()) facts.class_names.push_back(names.front());
  facts.pixel_mean = as_floats(impl_->pixels.mean);
  facts.pixel_std = as_floats(impl_->pixels.std);
  return facts;
}

std::uint64_t CorpusSet::fingerprint() const {
  Xxh64 hash;
  for (const auto& corpus : corpora()) {
    const auto part = corpus->fingerprint();
    hash.add(corpus->config().name).add(&part, sizeof(part));
  }
  return hash.value();
}

}  // namespace triptych
