// From raw text to the words that CLIP's byte-pair merging sees. Internal to data/text.
#pragma once
#include <string>
#include <string_view>

namespace triptych {

/// What ftfy repairs (fix_text.h), HTML references resolved twice, runs of white space (Python's str.split) to one
/// space, none at the ends, lower case by the full Unicode rules (final sigma, dotted I). Invalid UTF-8 becomes U+FFFD.
/// The result is valid UTF-8.
std::string clip_clean(std::string_view text);

/// Takes the next word off `text` (clean) by CLIP's pattern, in this order at each place: a special token, an English
/// contraction ('s 't 're 've 'm 'll 'd), a run of letters, one number, a run of anything else but white space. Empty
/// at the end. Letters and numbers are Unicode's categories L and N, of the Unicode version of the ICU that is
/// linked (72: Unicode 15); letters that later versions add count as anything else.
std::string_view next_clip_word(std::string_view& text);

}  // namespace triptych
