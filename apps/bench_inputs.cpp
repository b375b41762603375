// Draws keyed by what they are for, the same bits everywhere; or a file's rows.
#include "apps/bench_inputs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/random_key.h"
#include "data/text/tokenizer.h"

namespace triptych {
namespace {

constexpr std::int64_t kWords = 16;  ///< of a text that is made up

constexpr std::uint64_t kSeed = 1;

RandomStream draws_for(const std::string& what, int rank) {
  return RandomStream(random_key(kSeed, Purpose::kTest, {xxh64(what), static_cast<std::uint64_t>(rank)}));
}

}  // namespace

BenchInputs::BenchInputs(const std::string& path, int rank, int size) : rank_(rank), size_(size) {
  if (!path.empty()) file_.emplace(path);
}

std::int64_t BenchInputs::local_rows(const std::string& name, std::int64_t wanted) const {
  if (!file_) return wanted;
  const auto found = file_->tensors().find(name);
  const std::int64_t rows = found == file_->tensors().end() || found->second.shape.empty() ? 0 : found->second.shape[0];
  if (rows == 0 || rows % size_ != 0) {
    throw ConfigError("--inputs: '" + name + "' has " + std::to_string(rows) +
                      " rows; they must be a multiple of the " + std::to_string(size_) + " ranks");
  }
  return rows / size_;
}

/// This rank's rows of a tensor whose rows have the given shape.
at::Tensor BenchInputs::own(const std::string& name, at::ScalarType type, std::vector<std::int64_t> shape) const {
  const std::int64_t rows = local_rows(name, 0);
  const at::Tensor all = file_->read(name);
  shape.insert(shape.begin(), rows * size_);
  if (all.scalar_type() != type || all.sizes() != at::IntArrayRef(shape)) {
    std::ostringstream message;
    message << "--inputs: '" << name << "' is " << all.scalar_type() << ' ' << all.sizes() << ", expected " << type
            << ' ' << at::IntArrayRef(shape);
    throw ConfigError(message.str());
  }
  return all.narrow(0, rank_ * rows, rows).contiguous();
}

at::Tensor BenchInputs::embeddings(const std::string& name, std::int64_t rows, std::int64_t width) const {
  if (file_) return own(name, at::kFloat, {width});
  auto values = at::empty({rows, width}, at::kFloat);
  auto draws = draws_for(name, rank_);
  auto* out = values.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < rows * width; ++i) out[i] = static_cast<float>(draws.uniform(-1, 1));
  return values / values.norm(2, {-1}, true);
}

at::Tensor BenchInputs::labels(std::int64_t rows) const {
  if (file_ && file_->contains("labels")) return own("labels", at::kLong, {});
  return at::arange(rows, at::kLong).remainder(kLabels);
}

at::Tensor BenchInputs::pictures(std::int64_t rows, const BatchSpec& spec) const {
  if (file_)
    return own("images", at::kByte, {spec.image_size, spec.image_size, 3})
        .unsqueeze(1)
        .expand({-1, spec.views, -1, -1, -1});
  at::Tensor images = at::empty({rows, spec.views, spec.image_size, spec.image_size, 3}, at::kByte);
  auto draws = draws_for("images", rank_);
  auto* pixels = images.mutable_data_ptr<std::uint8_t>();
  for (std::int64_t i = 0; i < images.numel(); ++i) pixels[i] = static_cast<std::uint8_t>(draws.bits() & 0xFF);
  return images;
}

at::Tensor BenchInputs::texts(std::int64_t rows, const BatchSpec& spec) const {
  if (file_) return own("tokens", at::kLong, {spec.form.context}).unsqueeze(1).expand({-1, spec.captions, -1});
  at::Tensor tokens = at::zeros({rows, spec.captions, spec.form.context}, at::kLong);
  // The row of an empty text has the special tokens; words of ids that are no special tokens go between them.
  const auto tokenizer = make_tokenizer(spec.form.tokenizer);
  constexpr std::int64_t kFirstWord = 1000;  // below stand [CLS], [SEP] and such in BERT's vocabulary
  std::array<std::int64_t, 2> ends{};
  tokenizer->encode_row("", ends);
  const auto words = std::min(kWords, spec.form.context - 2);
  const auto ids = at::arange(rows * spec.captions * words, at::kLong);
  auto span = tokens.narrow(2, 1, words);
  span.copy_(ids.remainder(tokenizer->vocabulary_size() - 2 - kFirstWord).add(kFirstWord).view_as(span));
  tokens.select(2, 0).fill_(ends[0]);
  tokens.select(2, 1 + words).fill_(ends[1]);
  return tokens;
}

at::Tensor BenchInputs::phrases(std::int64_t rows, const BatchSpec& spec) const {
  constexpr std::int64_t kOfText = 4;
  const std::int64_t words = std::min<std::int64_t>(file_ ? kOfText : kWords, spec.form.context - 2);
  std::vector<std::int64_t> places;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t i = 0; i < kOfText; ++i) {
      const std::int64_t begin = 1 + words * i / kOfText, end = 1 + words * (i + 1) / kOfText;
      if (begin < end) places.insert(places.end(), {row, 0, begin, end});
    }
  }
  return at::tensor(places, at::kLong).view({-1, 4});
}

std::vector<Batch> BenchInputs::batches(const StepPlan& plan, const BatchSpec& spec) const {
  if (const auto rows = local_rows("images", plan.local_batch); rows != plan.local_batch) {
    throw ConfigError("--inputs: 'images' has " + std::to_string(rows * size_) + " rows, expected the " +
                      std::to_string(plan.local_batch * size_) + " of train.global_batch");
  }
  const at::Tensor images = pictures(plan.local_batch, spec), all_labels = labels(plan.local_batch);
  const at::Tensor tokens = spec.text ? texts(plan.local_batch, spec) : at::Tensor();
  std::vector<Batch> batches;
  for (std::int64_t first = 0; first < plan.local_batch; first += plan.micro_batch) {
    const auto part = [&](const at::Tensor& t) { return t.narrow(0, first, plan.micro_batch); };
    Batch batch;
    batch.images = part(images);
    if (spec.text) batch.tokens = part(tokens);
    if (spec.phrases) batch.phrases = phrases(plan.micro_batch, spec);
    batch.labels = part(all_labels);
    batch.sample_ids = at::arange(plan.micro_batch, at::kLong);
    batch.first_position = rank_ * plan.local_batch + first;
    batches.push_back(std::move(batch));
  }
  return batches;
}

}  // namespace triptych
