// Decoded on threads, kept in order.
#include "data/tools/contact_sheet.h"

#include <algorithm>

#include "core/base/errors.h"
#include "data/formats/parallel_for.h"
#include "data/image/encode.h"
#include "data/image/resize.h"

namespace triptych {
namespace {

constexpr int kQuality = 80;

SmallPicture small_picture(const Corpus& corpus, std::int64_t index, int side, const DecodeConfig& decoding) {
  const auto record = corpus.read(index);
  auto image = decode_image(record.image, decoding);
  SmallPicture small{index, image.width, image.height, {}, {}};
  const int longest = std::max(image.width, image.height);
  if (longest > side) {
    const auto scaled = [&](int length) {
      return std::max(1, static_cast<int>(std::int64_t{length} * side / longest));
    };
    Image shrunk{scaled(image.width), scaled(image.height), {}};
    shrunk.rgb.resize(static_cast<std::size_t>(shrunk.width) * static_cast<std::size_t>(shrunk.height) * 3);
    resize_bicubic(image, Box{0, 0, image.width, image.height}, {shrunk.width, shrunk.height},
                   {0, 0, shrunk.width, shrunk.height}, false, shrunk.rgb);
    image = std::move(shrunk);
  }
  small.jpeg = encode_jpeg(image, kQuality);
  small.text = record.label >= 0 ? corpus.class_names()[static_cast<std::size_t>(record.label)].front()
                                 : record.captions.front();
  return small;
}

}  // namespace

std::vector<SmallPicture> contact_sheet(const Corpus& corpus, std::int64_t count, int side,
                                        const DecodeConfig& decoding, int threads) {
  count = std::min(count, corpus.size());
  std::vector<SmallPicture> pictures(static_cast<std::size_t>(count));
  parallel_for(count, threads, [&](std::int64_t i) {
    try {
      pictures[static_cast<std::size_t>(i)] = small_picture(corpus, i * corpus.size() / count, side, decoding);
    } catch (const DataError&) {  // the report lists it
    }
  });
  std::erase_if(pictures, [](const SmallPicture& picture) { return picture.jpeg.empty(); });
  return pictures;
}

}  // namespace triptych
