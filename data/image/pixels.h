// A picture that an operation changes in place.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace triptych {

/// [height][width][3] without padding, owned by somebody else.
struct Pixels {
  std::uint8_t* rgb = nullptr;
  int width = 0, height = 0;

  std::size_t count() const { return static_cast<std::size_t>(width) * static_cast<std::size_t>(height); }
  std::size_t bytes() const { return 3 * count(); }
  std::size_t row_bytes() const { return 3 * static_cast<std::size_t>(width); }
  std::uint8_t* row(int y) const { return rgb + static_cast<std::size_t>(y) * row_bytes(); }
  std::span<std::uint8_t> all() const { return {rgb, bytes()}; }
};

}  // namespace triptych
