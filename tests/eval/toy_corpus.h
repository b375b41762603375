// A held-out corpus in memory and encoders whose right answers are known: picture i is of one colour that says i, and
// the toy encoders look embeddings up by that number or by the tokens of a text.
#pragma once
#include <ATen/ATen.h>
#include <webp/encode.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "core/eval/evaluator.h"
#include "data/corpus.h"
#include "data/text/tokenizer.h"

namespace triptych {

/// Rows of length 1, the same for the same `what`. fp32 [rows, width].
inline at::Tensor random_units(std::int64_t rows, std::int64_t width, std::uint64_t what) {
  RandomStream draws(random_key(7, Purpose::kTest, {what}));
  auto values = at::empty({rows, width}, at::kFloat);
  for (std::int64_t i = 0; i < rows * width; ++i) values.data_ptr<float>()[i] = static_cast<float>(draws.normal());
  return values / values.norm(2, {-1}, true);
}

inline constexpr std::int64_t kToyImageSize = 8;
inline constexpr std::int64_t kToyContext = 16;

/// Losslessly encoded picture of the colour (index / 256, index % 256, 7).
inline std::vector<unsigned char> toy_picture(std::int64_t index) {
  std::vector<unsigned char> rgb;
  for (std::int64_t pixel = 0; pixel < kToyImageSize * kToyImageSize; ++pixel) {
    rgb.push_back(static_cast<unsigned char>(index / 256));
    rgb.push_back(static_cast<unsigned char>(index % 256));
    rgb.push_back(7);
  }
  unsigned char* encoded = nullptr;
  const auto bytes = WebPEncodeLosslessRGB(rgb.data(), kToyImageSize, kToyImageSize, 3 * kToyImageSize, &encoded);
  std::vector<unsigned char> file(encoded, encoded + bytes);
  WebPFree(encoded);
  return file;
}

class ToyCorpus : public Corpus {
 public:
  /// image_text: captions of each record.
  explicit ToyCorpus(std::vector<std::vector<std::string>> captions, std::set<std::int64_t> broken = {})
      : captions_(std::move(captions)), broken_(std::move(broken)), spans_{{0, size()}} {
    config_.kind = "image_text";
    config_.path = "toy";
  }
  /// image_label: class of each record.
  ToyCorpus(std::vector<std::int64_t> labels, std::vector<std::vector<std::string>> names,
            std::set<std::int64_t> broken = {}, std::int64_t first_picture = 0)
      : labels_(std::move(labels)),
        names_(std::move(names)),
        broken_(std::move(broken)),
        first_picture_(first_picture),
        spans_{{0, size()}} {
    config_.kind = "image_label";
    config_.path = "toy";
  }
  std::int64_t size() const override { return static_cast<std::int64_t>(captions_.size() + labels_.size()); }
  const std::vector<ShardSpan>& shards() const override { return spans_; }
  Record read(std::int64_t index) const override {
    if (broken_.contains(index)) throw DataError("toy record " + std::to_string(index) + " is broken");
    Record record;
    record.image = toy_picture(first_picture_ + index);
    if (labels_.empty()) {
      record.captions = captions_[static_cast<std::size_t>(index)];
    } else {
      record.label = labels_[static_cast<std::size_t>(index)];
    }
    return record;
  }
  RecordPlace place(std::int64_t index) const override { return {"toy", std::to_string(index), 0}; }
  const std::vector<std::vector<std::string>>& class_names() const override { return names_; }
  const CorpusConfig& config() const override { return config_; }
  std::uint64_t fingerprint() const override { return 1; }

 private:
  std::vector<std::vector<std::string>> captions_;
  std::vector<std::int64_t> labels_;
  std::vector<std::vector<std::string>> names_;
  std::set<std::int64_t> broken_;
  std::int64_t first_picture_ = 0;
  std::vector<ShardSpan> spans_;
  CorpusConfig config_;
};

/// Which picture each row of uint8 [n, h, w, 3] is.
inline at::Tensor toy_numbers(const at::Tensor& images) {
  const auto corner = images.select(1, 0).select(1, 0).to(at::kLong);
  return corner.select(1, 0) * 256 + corner.select(1, 1);
}

/// Rows of `table` [pictures, d] by picture.
inline std::function<at::Tensor(const at::Tensor&)> toy_images(at::Tensor table) {
  return [table](const at::Tensor& images) { return table.index_select(0, toy_numbers(images)); };
}

/// Rows of `table` [texts, d] for the texts given; any other text is a test failure (throws).
inline std::function<at::Tensor(const at::Tensor&)> toy_texts(const std::vector<std::string>& texts, at::Tensor table) {
  const auto tokenizer = make_tokenizer("clip_bpe");
  std::map<std::vector<std::int64_t>, std::int64_t> index;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::vector<std::int64_t> row(kToyContext);
    tokenizer->encode_row(texts[i], row);
    index.emplace(row, static_cast<std::int64_t>(i));
  }
  return [index, table](const at::Tensor& tokens) {
    std::vector<at::Tensor> rows;
    for (std::int64_t row = 0; row < tokens.size(0); ++row) {
      const auto* ids = tokens.const_data_ptr<std::int64_t>() + row * tokens.size(1);
      rows.push_back(table[index.at({ids, ids + tokens.size(1)})]);
    }
    return at::stack(rows);
  };
}

inline EvalScope toy_scope(Collectives& comm, std::int64_t batch) {
  return {.comm = comm,
          .text = {.tokenizer = "clip_bpe", .context = kToyContext},
          .image_size = kToyImageSize,
          .batch = batch,
          .class_names = {}};
}

inline std::vector<std::string> names_of(const std::vector<Metric>& metrics) {
  std::vector<std::string> names;
  for (const auto& metric : metrics) names.push_back(metric.name);
  return names;
}

inline double metric(const std::vector<Metric>& metrics, const std::string& name) {
  for (const auto& entry : metrics) {
    if (entry.name == name) return entry.value;
  }
  throw std::runtime_error("no metric " + name);
}

/// "name=value" of all metrics with every bit: what must be equal on any number of ranks.
inline std::string exact_text(const std::vector<Metric>& metrics) {
  std::string text;
  for (const auto& entry : metrics) {
    char value[64];
    std::snprintf(value, sizeof(value), "%a", entry.value);
    text += entry.name + "=" + value + "\n";
  }
  return text;
}

}  // namespace triptych
