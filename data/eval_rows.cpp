// Held-out records, prepared without any draw.
#include <ATen/ATen.h>

#include "core/base/errors.h"
#include "data/formats/parallel_for.h"
#include "data/image/augment.h"
#include "data/image/decode.h"
#include "data/loader.h"

namespace triptych {

void check_test_size(const DecodeConfig& decode, std::int64_t image_size) {
  if (decode.test_short_side == 0 || decode.test_short_side >= image_size) return;
  throw ConfigError("data.decode.test_short_side: is " + std::to_string(decode.test_short_side) +
                    ", less than the pictures' size of " + std::to_string(image_size) + " that is cut from it");
}

EvalRows read_eval_rows(const Corpus& corpus, std::int64_t first, std::int64_t last, std::int64_t image_size,
                        const DecodeConfig& decode, int workers) {
  if (first < 0 || last < first || last > corpus.size()) throw std::out_of_range("records of " + corpus.config().name);
  check_test_size(decode, image_size);
  const auto count = last - first, pixels = image_size * image_size * 3;
  const auto images = at::empty({count, image_size, image_size, 3}, at::kByte);
  auto* const bytes = images.mutable_data_ptr<std::uint8_t>();
  std::vector<std::int64_t> labels(static_cast<std::size_t>(count), kNoLabel), kept;
  std::vector<std::vector<std::string>> captions(static_cast<std::size_t>(count));
  std::vector<char> usable(static_cast<std::size_t>(count), 0);
  const auto sizes = at::zeros({count, 2}, at::kLong);
  auto* const sides = sizes.mutable_data_ptr<std::int64_t>();
  parallel_for(count, workers, [&](std::int64_t n) {
    const auto row = static_cast<std::size_t>(n);
    try {
      auto record = corpus.read(first + n);
      const auto image = decode_image(record.image, decode);
      test_view(image, decode.test_resize, static_cast<int>(image_size),
                {bytes + n * pixels, static_cast<std::size_t>(pixels)}, static_cast<int>(decode.test_short_side));
      sides[2 * n] = image.width;
      sides[2 * n + 1] = image.height;
      if (record.label >= 0) labels[row] = record.label;
      captions[row] = std::move(record.captions);
      usable[row] = 1;
    } catch (const DataError&) {  // counted below
    }
  });
  EvalRows rows;
  for (std::int64_t n = 0; n < count; ++n) {
    if (!usable[static_cast<std::size_t>(n)]) continue;
    kept.push_back(n);
    rows.captions.push_back(std::move(captions[static_cast<std::size_t>(n)]));
  }
  rows.unusable = count - static_cast<std::int64_t>(kept.size());
  const auto index = at::tensor(kept, at::kLong);
  rows.images = rows.unusable == 0 ? images : images.index_select(0, index);
  rows.labels = at::tensor(labels, at::kLong).index_select(0, index);
  rows.records = index + first;
  rows.sizes = sizes.index_select(0, index);
  return rows;
}

}  // namespace triptych
