// What both ends of a control connection do with its bytes and its socket.
#pragma once
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace triptych {

/// Longest line, its newline included.
inline constexpr std::size_t kControlLine = 4096;

/// Cuts a stream into lines in a buffer of one line's length.
class ControlLines {
 public:
  /// Where to read the next bytes to. Empty: a line is too long. Ends the life of what `next` returned.
  std::span<char> room();
  /// That many bytes were read there.
  void filled(std::size_t bytes) { end_ += bytes; }
  /// The next whole line without its newline.
  std::optional<std::string_view> next();

 private:
  std::array<char, kControlLine> bytes_;
  std::size_t begin_ = 0, end_ = 0;
};

/// A link that is cut becomes ETIMEDOUT within 6 s, with or without bytes on their way; one that is down for 2 s does
/// not, nor does a stopped process, whose system still answers. Close-on-exec. Throws std::system_error.
void watch_link(int socket);

}  // namespace triptych
