// Tables of 256 values.
#include "data/image/tone.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace triptych {
namespace {

using Table = std::array<std::uint8_t, 256>;
using Histogram = std::array<std::int64_t, 256>;

template <class Function>
Table table_of(Function&& value) {
  Table table;
  for (int v = 0; v < 256; ++v)
    table[static_cast<std::size_t>(v)] = static_cast<std::uint8_t>(std::clamp(value(v), 0, 255));
  return table;
}

void map_all(Pixels pixels, const Table& table) {
  for (auto& byte : pixels.all()) byte = table[byte];
}

template <class MakeTable>
void map_by_channel(Pixels pixels, MakeTable&& make_table) {
  for (std::size_t channel = 0; channel < 3; ++channel) {
    Histogram histogram{};
    for (std::size_t i = channel; i < pixels.bytes(); i += 3) ++histogram[pixels.rgb[i]];
    const Table table = make_table(histogram);
    for (std::size_t i = channel; i < pixels.bytes(); i += 3) pixels.rgb[i] = table[pixels.rgb[i]];
  }
}

Table identity() {
  return table_of([](int v) { return v; });
}

Table stretched(const Histogram& histogram, bool wraps) {
  int low = 0, high = 255;
  while (low < 255 && histogram[static_cast<std::size_t>(low)] == 0) ++low;
  while (high > 0 && histogram[static_cast<std::size_t>(high)] == 0) --high;
  if (high <= low) return identity();
  const double scale = 255.0 / (high - low), offset = (wraps && low > 0 ? 256 - low : -low) * scale;
  return table_of([&](int v) { return static_cast<int>(std::clamp(v * scale + offset, 0.0, 255.0)); });
}

// Pillow's rule: the number of smaller values, in steps of (all but the largest value's count) / 255.
Table evened(const Histogram& histogram) {
  std::int64_t total = 0, last = 0;
  for (const auto count : histogram) {
    total += count;
    if (count > 0) last = count;
  }
  const std::int64_t step = (total - last) / 255;
  if (step == 0) return identity();
  Table table;
  std::int64_t smaller = step / 2;
  for (std::size_t v = 0; v < 256; ++v) {
    table[v] = static_cast<std::uint8_t>(std::min<std::int64_t>(smaller / step, 255));
    smaller += histogram[v];
  }
  return table;
}

}  // namespace

void auto_contrast(Pixels pixels) {
  map_by_channel(pixels, [](const Histogram& histogram) { return stretched(histogram, false); });
}

void auto_contrast_wrapping(Pixels pixels) {
  map_by_channel(pixels, [](const Histogram& histogram) { return stretched(histogram, true); });
}

void equalize(Pixels pixels) {
  map_by_channel(pixels, evened);
}

void invert(Pixels pixels) {
  map_all(pixels, table_of([](int v) { return 255 - v; }));
}

void solarize(Pixels pixels, int threshold) {
  map_all(pixels, table_of([&](int v) { return v < threshold ? v : 255 - v; }));
}

void solarize_add(Pixels pixels, int amount) {
  map_all(pixels, table_of([&](int v) { return v < 128 ? v + amount : v; }));
}

void posterize(Pixels pixels, int bits) {
  const int mask = 0xff & ~((1 << (8 - bits)) - 1);
  map_all(pixels, table_of([&](int v) { return v & mask; }));
}

}  // namespace triptych
