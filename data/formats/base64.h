// Base64 (RFC 4648, section 4), as pictures stand in tables and pages.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

/// Decodes strictly: the standard alphabet, no blanks inside, '=' only to fill the last group of four (it may be
/// missing). Throws DataError naming the byte that does not belong, a length that cannot be, or an empty text.
std::vector<unsigned char> decode_base64(std::string_view text);

/// With padding, without line ends.
std::string encode_base64(std::string_view bytes);

}  // namespace triptych
