// What happens to a caption or prompt before its tokenizer: the table of `model.text.clean`.
#pragma once
#include <string>
#include <string_view>

#include "data/text/characters.h"

namespace triptych {

enum class TextClean { kNone, kTclCaption, kTclQuestion };

/// `name`: none, tcl_caption, tcl_question. Throws ConfigError for another.
TextClean text_clean(const std::string& name);

/// The clean text; each of its characters knows its bytes in `text`. See tcl_clean.h.
Characters clean_text(std::string_view text, TextClean clean);

}  // namespace triptych
