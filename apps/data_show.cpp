// `triptych data show`: records as text, and one decoded picture as PNG.
#include <algorithm>

#include "apps/data_actions.h"
#include "apps/result.h"
#include "core/base/atomic_file.h"
#include "core/base/strings.h"
#include "data/formats/printable.h"
#include "data/image/decode.h"
#include "data/image/encode.h"
#include "data/loader.h"

namespace triptych {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> texts_of(const Corpus& corpus, const Record& record) {
  return record.label >= 0 ? corpus.class_names()[static_cast<std::size_t>(record.label)] : record.captions;
}

/// Throws ConfigError when there is no record `first`.
void check_first(const Corpus& corpus, std::int64_t first) {
  if (first < corpus.size()) return;
  throw ConfigError("data show: --first " + std::to_string(first) + ": corpus " + printable(corpus.config().name) +
                    " has " + std::to_string(corpus.size()) +
                    " records, counted from 0; --corpus takes one of several");
}

Json rows_of(const Corpus& corpus, std::int64_t first, std::int64_t count) {
  check_first(corpus, first);
  Json rows = Json::array();
  for (auto index = first; index - first < count && index < corpus.size(); ++index) {
    const auto place = corpus.place(index);
    Json row = {{"record", index}, {"shard", place.shard}, {"key", printable(place.key)}};
    try {
      const auto record = corpus.read(index);
      row["bytes"] = record.image.size();
      row["text"] = join(texts_of(corpus, record), " | ");
    } catch (const DataError& error) {
      row["bytes"] = nullptr;
      row["text"] = std::string("unusable: ") + error.what();
    }
    rows.push_back(row);
  }
  return rows;
}

/// Everything about one record; its decoded picture goes to `png`. Throws DataError when it cannot be used.
Json whole_record(const Corpus& corpus, std::int64_t index, const DecodeConfig& decoding, const std::string& png) {
  check_first(corpus, index);
  const auto record = corpus.read(index);
  const auto image = decode_image(record.image, decoding);
  const auto bytes = encode_png(image);
  write_file_atomically(png, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  const auto place = corpus.place(index);
  Json row = {{"corpus", corpus.config().name}, {"record", index},        {"shard", place.shard},
              {"key", printable(place.key)},    {"offset", place.offset}, {"bytes", record.image.size()},
              {"width", image.width},           {"height", image.height}, {"png", png}};
  if (record.label >= 0) row["class"] = record.label;
  Json texts = Json::array();
  const auto& all = record.label >= 0 ? corpus.class_names()[static_cast<std::size_t>(record.label)] : record.captions;
  for (const auto& text : all) texts.push_back({{"text", text}});
  row[record.label >= 0 ? "names" : "captions"] = texts;
  return row;
}

/// What a run trains on in its `step`-th step, unless records of it turn out to be unusable.
Json batch_of(const TrainConfig& config, std::int64_t step) {
  const CorpusSet corpora(config.data);
  const auto rows = config.train.global_batch;
  const auto schedule = make_schedule(corpora, config.data, static_cast<std::uint64_t>(config.run.seed), rows);
  Json batch = Json::array();
  for (std::int64_t position = (step - 1) * rows; position < step * rows; ++position) {
    const auto due = schedule.at(position);
    const auto& corpus = *corpora.corpora()[static_cast<std::size_t>(due.corpus)];
    const auto place = corpus.place(due.record);
    batch.push_back({{"position", position},
                     {"corpus", corpus.config().name},
                     {"record", due.record},
                     {"shard", place.shard},
                     {"key", printable(place.key)}});
  }
  return batch;
}

}  // namespace

ExitCode data_show(const DataCommand& command) {
  const auto& a = command.arguments;
  if (a.step > 0) {
    print_result({{"step " + std::to_string(a.step), batch_of(command.config, a.step)}}, a.format);
    return ExitCode::kDone;
  }
  if (!a.png.empty()) {
    const auto corpus = open_corpus(command.only());
    print_result(whole_record(*corpus, a.first, command.config.data.decode, a.png), a.format);
    return ExitCode::kDone;
  }
  Json result = Json::object();
  for (const auto& config : command.corpora) result[config.name] = rows_of(*open_corpus(config), a.first, a.count);
  print_result(result, a.format);
  return ExitCode::kDone;
}

}  // namespace triptych
