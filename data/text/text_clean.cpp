// Names of cleanings.
#include "data/text/text_clean.h"

#include "core/base/errors.h"
#include "data/text/tcl_clean.h"

namespace triptych {

TextClean text_clean(const std::string& name) {
  if (name == "none") return TextClean::kNone;
  if (name == "tcl_caption") return TextClean::kTclCaption;
  if (name == "tcl_question") return TextClean::kTclQuestion;
  throw ConfigError("clean: got '" + name + "', known: none, tcl_caption, tcl_question");
}

Characters clean_text(std::string_view text, TextClean clean) {
  switch (clean) {
    case TextClean::kTclCaption:
      return tcl_caption(text);
    case TextClean::kTclQuestion:
      return tcl_question(text);
    case TextClean::kNone:
      break;
  }
  return decode_utf8(text);
}

}  // namespace triptych
