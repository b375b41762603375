// Names that come from files, made safe for messages and logs.
#pragma once
#include <string>
#include <string_view>

namespace triptych {

/// `text` with control bytes and bytes that are not UTF-8 written as \xHH, cut to 200 bytes with "..." behind.
std::string printable(std::string_view text);

/// The same for results that people read: nothing is cut, and line ends are written as \n.
std::string printable_whole(std::string_view text);

/// Length of the valid UTF-8 sequence at the start of `text`: 1 to 4, or 0 when there is none.
std::size_t utf8_length(std::string_view text);

/// True when all of `text` is well-formed UTF-8.
bool is_utf8(std::string_view text);

}  // namespace triptych
