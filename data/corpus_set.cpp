// All corpora of a run and the one table of their class names.
#include <nlohmann/json.hpp>
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
/// names, or stay apart.
class LabelTable {
 public:
  explicit LabelTable(bool merge) : merge_(merge) {}

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
    if (!merge_) {
      names.push_back(class_names);
      return static_cast<std::int64_t>(names.size()) - 1;
    }
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

  bool merge_;
  std::unordered_map<std::string, std::int64_t> by_name_;
};

}  // namespace

struct CorpusSet::Impl {
  explicit Impl(const DataConfig& c) : config(c), table(c.labels == "merge") {}

  DataConfig config;
  std::vector<std::unique_ptr<Corpus>> corpora;
  LabelTable table;
  std::vector<std::vector<std::int64_t>> label_ids;  // [corpus][local label]
  std::int64_t size = 0;
};

CorpusSet::CorpusSet(const DataConfig& config) : impl_(std::make_unique<Impl>(config)) {
  for (auto part : config.corpora) {
    part.inherit_index_dir(config.index_dir);
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

std::string CorpusSet::class_table() const {
  using Json = nlohmann::ordered_json;
  std::vector<Json> places(class_names().size(), Json::object());
  for (std::size_t corpus = 0; corpus < corpora().size(); ++corpus) {
    const auto& ids = impl_->label_ids[corpus];
    for (std::size_t local = 0; local < ids.size(); ++local) {
      places[static_cast<std::size_t>(ids[local])][corpora()[corpus]->config().name] = local;
    }
  }
  std::string text = "{\"labels\": " + Json(impl_->config.labels).dump() + ", \"classes\": [";
  for (std::size_t id = 0; id < places.size(); ++id) {
    const Json row = {{"id", id}, {"names", class_names()[id]}, {"corpora", places[id]}};
    text += (id == 0 ? "\n" : ",\n") + row.dump();
  }
  return text + "\n]}\n";
}

std::int64_t CorpusSet::size() const {
  return impl_->size;
}

CorpusFacts CorpusSet::facts(std::int64_t global_batch) const {
  CorpusFacts facts;
  facts.num_labels = static_cast<std::int64_t>(class_names().size());
  std::vector<std::int64_t> sizes;
  for (const auto& corpus : corpora()) sizes.push_back(corpus->size());
  facts.records_per_epoch = samples_per_epoch(impl_->config, sizes);
  facts.steps_per_epoch = std::max<std::int64_t>(facts.records_per_epoch / global_batch, 1);
  facts.captions = static_cast<int>(impl_->config.captions.all_positive);
  for (const auto& names : class_names()) facts.class_names.push_back(names.front());
  const auto pixels = pixel_statistics(impl_->config.augment);
  facts.pixel_mean = as_floats(pixels.mean);
  facts.pixel_std = as_floats(pixels.std);
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
