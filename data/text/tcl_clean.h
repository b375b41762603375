// TCL's cleaning of captions and questions (Yang et al. 2022, arXiv:2202.10401; the rules are those of its release).
#pragma once
#include <cstddef>
#include <string_view>

#include "data/text/characters.h"

namespace triptych {

/// Words that are kept in pre-training and in fine-tuning; questions that are tested have 50.
inline constexpr std::size_t kTclWords = 30;

/// Lower case; , . ' ! ? " ( ) * # : ; ~ dropped; - and / to a space; `<person>` to `person`; runs of two or more white
/// space characters to one space (a single tab or newline stays); line feeds, then spaces, off the ends; cut before the
/// word after `most_words`, where words stand between single spaces. Lower case is that of the whole text: a capital
/// sigma that ends a word becomes the final one.
Characters tcl_caption(std::string_view text, std::size_t most_words = kTclWords);

/// The same without `<person>` and without collapsing; only spaces at the end are taken off.
Characters tcl_question(std::string_view text, std::size_t most_words = kTclWords);

}  // namespace triptych
