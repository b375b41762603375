// One picture and its caption as a page that needs nothing else: no network, no script; light or dark as the reader's
// system is.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace triptych {

/// Lengths are shares of the picture's sides.
struct ExplainedRegion {
  double left = 0, top = 0, right = 1, bottom = 1, confidence = 0;
  std::int64_t cells = 0;
  double interaction = 0, standard_error = 0;  ///< by the sampler
  std::optional<double> guess, sigma;          ///< by the network, where there is one
};

struct ExplainedPhrase {
  std::size_t begin = 0, end = 0;  ///< bytes of the caption
};

struct ExplainPage {
  std::string png;  ///< the picture as the model sees it, encoded
  std::string caption;
  std::vector<ExplainedPhrase> phrases;  ///< disjoint or not, in any order
  std::vector<ExplainedRegion> regions;  ///< the most confident first
  std::vector<std::vector<double>> similarity_MP, interaction_MP;
  std::vector<std::vector<double>> cell_similarity_Tk;  ///< T: the caption, then the phrases; k: cells, row by row
  std::string phrase_note;                              ///< what is to be known of the phrases: who found them
  std::vector<std::pair<std::string, std::string>> settings;  ///< of run and sampling, for the last table
};

/// Foreign texts are escaped; valid as HTML5 and as XML.
std::string explain_page(const ExplainPage& page);

}  // namespace triptych
