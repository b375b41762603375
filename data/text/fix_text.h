// What ftfy.fix_text repairs in captions from the web. Internal to data/text.
#pragma once
#include <string>
#include <string_view>

namespace triptych {

/// ftfy 6's fixes in its order, as far as docs/data_formats.md says: HTML references, UTF-8 that was read as Latin-1 or
/// Windows-1252, C1 controls, Latin ligatures, full and half width, curly quotes, line breaks, terminal escapes,
/// control characters, canonical composition; again while something changes, 16 times at most. `text` is valid UTF-8,
/// so is the result.
std::string fix_text(std::string_view text);

}  // namespace triptych
