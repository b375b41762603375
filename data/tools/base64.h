// Bytes as text, for pictures inside an HTML page.
#pragma once
#include <span>
#include <string>

namespace triptych {

/// Base64 with padding (RFC 4648, section 4).
std::string base64(std::span<const unsigned char> bytes);

}  // namespace triptych
