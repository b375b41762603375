// Is a caption English? By the statistics of its letters alone: no dictionary, no model.
#pragma once
#include <string>
#include <vector>

namespace triptych {

/// Mean over the letter trigrams of the words (each between blanks: " ca", "cat", "at ") of log P(trigram | English) -
/// log P(trigram | 41 other languages), in nats, from english_trigrams.inc; letters with accents and of other scripts
/// are one symbol, digits are left out. Above 0 the text looks English; 0 without letters. `words`: see words_of.
/// Short texts and close relatives are mistaken: "chambre" may pass and a name may not.
double english_score(const std::vector<std::string>& words);

}  // namespace triptych
