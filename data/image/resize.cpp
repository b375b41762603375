// Bicubic resizing. Both passes are one kernel: a weighted sum of byte rows, 48 neighbours at a time. The vertical pass
// has its rows as they are; the horizontal pass turns 16 rows by 90 degrees first, so that the pixels of a column lie
// together.
#include "data/image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "data/image/weighted_sum.h"

namespace triptych {
namespace {

constexpr int kRows = 16;  // rows that the horizontal pass turns at once

using Bytes16 = std::uint8_t __attribute__((vector_size(16)));

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// For each output place of a window: which inputs it sums, with which weights.
struct Filter {
  struct Taps {
    int first, count;
    std::size_t weights;  // index of the first weight
  };
  std::vector<Taps> taps;
  std::vector<std::int32_t> weights;
  int first = 0, last = 0;  // inputs [first, last) that any place of the window needs
};

// Weights for the places [start, start + count) of an axis that shrinks or grows from `length` to `out` samples. The
// length begins `offset` (0 <= offset < 1) behind the border of the first of `in` samples.
Filter make_filter(double offset, double length, int in, int out, int start, int count) {
  const double scale = length / out;
  const double widening = std::max(scale, 1.0);
  const double support = 2.0 * widening;
  Filter filter;
  filter.taps.reserve(static_cast<std::size_t>(count));
  std::vector<double> exact;
  for (int place = start; place < start + count; ++place) {
    const double center = offset + (place + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int last = std::min(in, static_cast<int>(center + support + 0.5));
    exact.clear();
    double sum = 0;
    for (int x = first; x < last; ++x) {
      exact.push_back(cubic((x - center + 0.5) * (1.0 / widening)));
      sum += exact.back();
    }
    filter.taps.push_back({first, last - first, filter.weights.size()});
    for (const double weight : exact) {
      const double fixed = (sum != 0 ? weight / sum : weight) * (1 << kWeightBits);
      filter.weights.push_back(static_cast<std::int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  filter.first = filter.taps.front().first;
  filter.last = filter.taps.back().first + filter.taps.back().count;
  return filter;
}

// Turns 16 x 16 bytes: out[i][j] = in[j][i]. Four rounds of a perfect shuffle.
[[gnu::always_inline]] inline void turn(const std::uint8_t* const* in, std::uint8_t* out, std::size_t out_step) {
  Bytes16 v[16], w[16];
  for (int i = 0; i < 16; ++i) std::memcpy(&v[i], in[i], 16);
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 8; ++i) {
      w[2 * i] = __builtin_shufflevector(v[i], v[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      w[2 * i + 1] =
          __builtin_shufflevector(v[i], v[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    std::memcpy(v, w, sizeof v);
  }
  for (std::size_t i = 0; i < 16; ++i) std::memcpy(out + i * out_step, &v[i], 16);
}

// rows[0 .. 15][0 .. bytes) to columns[bytes][16]; columns has room for a multiple of 16 bytes.
void rows_to_columns(const std::uint8_t* const* rows, std::size_t bytes, std::uint8_t* columns) {
  const std::uint8_t* at[kRows];
  std::size_t b = 0;
  for (; b + 16 <= bytes; b += 16) {
    for (int r = 0; r < kRows; ++r) at[r] = rows[r] + b;
    turn(at, columns + b * kRows, 16);
  }
  for (; b < bytes; ++b)
    for (int r = 0; r < kRows; ++r) columns[b * kRows + static_cast<std::size_t>(r)] = rows[r][b];
}

// columns[bytes][16] to 16 rows `step` bytes apart. bytes is a multiple of 16.
void columns_to_rows(const std::uint8_t* columns, std::size_t bytes, std::uint8_t* rows, std::size_t step) {
  const std::uint8_t* at[kRows];
  for (std::size_t b = 0; b < bytes; b += 16) {
    for (std::size_t c = 0; c < 16; ++c) at[c] = columns + (b + c) * kRows;
    turn(at, rows + b, step);
  }
}

// The horizontal pass over 16 turned rows: one kernel call makes a pixel of each.
void filter_columns(WeightedSum weighted_sum, const std::uint8_t* columns, const Filter& filter, bool flip,
                    std::uint8_t* out) {
  const int width = static_cast<int>(filter.taps.size());
  for (int x = 0; x < width; ++x) {
    const auto& taps = filter.taps[static_cast<std::size_t>(x)];
    weighted_sum(columns + static_cast<std::ptrdiff_t>(taps.first - filter.first) * kSumLanes, kSumLanes,
                 &filter.weights[taps.weights], taps.count,
                 out + static_cast<std::ptrdiff_t>(flip ? width - 1 - x : x) * kSumLanes);
  }
}

// The vertical pass: rows of `rows_step` bytes, of which the first `bytes` count, to out[places][bytes].
void filter_rows(WeightedSum weighted_sum, const std::uint8_t* rows, std::size_t rows_step, const Filter& filter,
                 std::size_t bytes, std::uint8_t* out) {
  std::uint8_t last[kSumLanes];
  for (const auto& taps : filter.taps) {
    const std::uint8_t* source = rows + static_cast<std::size_t>(taps.first - filter.first) * rows_step;
    for (std::size_t b = 0; b < bytes; b += kSumLanes) {
      const std::size_t left = std::min<std::size_t>(bytes - b, kSumLanes);
      weighted_sum(source + b, static_cast<std::ptrdiff_t>(rows_step), &filter.weights[taps.weights], taps.count,
                   left == kSumLanes ? out + b : last);
      if (left < kSumLanes) std::memcpy(out + b, last, left);
    }
    out += bytes;
  }
}

// What an axis of the region covers: whole samples, and how far behind the border of the first it begins.
struct Span {
  int first, count;
  double offset;
};

Span span_of(double start, double length) {
  const double first = std::floor(start), last = std::ceil(start + length);
  return {static_cast<int>(first), static_cast<int>(last - first), start - first};
}

bool inside(const RealBox& box, Size size) {
  return box.x >= 0 && box.y >= 0 && box.width > 0 && box.height > 0 && box.width <= size.width - box.x &&
         box.height <= size.height - box.y;
}

std::string text(const RealBox& box) {
  return std::to_string(box.width) + " x " + std::to_string(box.height) + " at (" + std::to_string(box.x) + ", " +
         std::to_string(box.y) + ")";
}

void check_boxes(const Image& image, const RealBox& region, Size scaled, Box window, std::size_t out_size) {
  if (!inside(region, {image.width, image.height}))
    throw std::invalid_argument("resize_bicubic: got the region " + text(region) + ", expected one inside " +
                                text(Box{0, 0, image.width, image.height}));
  if (!inside(window, scaled))
    throw std::invalid_argument("resize_bicubic: got the window " + text(window) + ", expected one inside " +
                                text(Box{0, 0, scaled.width, scaled.height}));
  const std::size_t needed = static_cast<std::size_t>(window.width) * static_cast<std::size_t>(window.height) * 3;
  if (out_size != needed)
    throw std::invalid_argument("resize_bicubic: got room for " + std::to_string(out_size) + " bytes, expected " +
                                std::to_string(needed));
}

}  // namespace

void resize_bicubic(const Image& image, const RealBox& region, Size scaled, Box window, bool flip,
                    std::span<std::uint8_t> out) {
  check_boxes(image, region, scaled, window, out.size());
  static const WeightedSum kernel = weighted_sum_kernels().front().run;
  const Span columns_of = span_of(region.x, region.width), rows_of = span_of(region.y, region.height);
  const Filter across =
      make_filter(columns_of.offset, region.width, columns_of.count, scaled.width, window.x, window.width);
  const Filter down = make_filter(rows_of.offset, region.height, rows_of.count, scaled.height, window.y, window.height);

  const std::size_t in_bytes = static_cast<std::size_t>(across.last - across.first) * 3;
  const std::size_t out_bytes = static_cast<std::size_t>(window.width) * 3;
  const std::size_t step = (out_bytes + kSumLanes - 1) / kSumLanes * kSumLanes;
  const int height = down.last - down.first;
  const std::size_t padded_height = static_cast<std::size_t>((height + kRows - 1) / kRows * kRows);
  const auto columns = std::make_unique_for_overwrite<std::uint8_t[]>(in_bytes * kRows);
  const auto narrow = std::make_unique<std::uint8_t[]>(step * kRows);
  const auto rows = std::make_unique_for_overwrite<std::uint8_t[]>(step * padded_height);

  const std::size_t image_step = static_cast<std::size_t>(image.width) * 3;
  const std::uint8_t* corner = image.rgb.data() + static_cast<std::size_t>(rows_of.first + down.first) * image_step +
                               static_cast<std::size_t>(columns_of.first + across.first) * 3;
  for (int top = 0; top < height; top += kRows) {
    const std::uint8_t* block[kRows];  // the last block repeats its last row
    for (int r = 0; r < kRows; ++r)
      block[r] = corner + static_cast<std::size_t>(std::min(top + r, height - 1)) * image_step;
    rows_to_columns(block, in_bytes, columns.get());
    filter_columns(kernel, columns.get(), across, flip, narrow.get());
    columns_to_rows(narrow.get(), step, rows.get() + static_cast<std::size_t>(top) * step, step);
  }
  filter_rows(kernel, rows.get(), step, down, out_bytes, out.data());
}

}  // namespace triptych
