// Reports of corpora as one HTML page that needs nothing else: no network, no script; light or dark as the reader's
// system is.
#pragma once
#include <string>
#include <vector>

#include "data/tools/contact_sheet.h"
#include "data/tools/corpus_report.h"

namespace triptych {

struct CorpusPage {
  std::string name, kind;
  CorpusReport report;
  Duplicates duplicates;
  std::vector<std::string> class_names;  ///< first name by local class index
  std::vector<SmallPicture> pictures;
};

/// The page: for each corpus its numbers, histograms as inline SVG, the largest classes, unusable records with reasons
/// and a contact sheet with the pictures as data URIs. Captions and names are escaped; valid as HTML5 and as XML.
std::string html_page(const std::vector<CorpusPage>& corpora);

}  // namespace triptych
