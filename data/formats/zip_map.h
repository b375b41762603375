// Zip archives of pictures with a map file
#pragma once
#include <memory>

#include "data/corpus.h"

namespace triptych {

/// Opens the files that config.path names (format zip_map). Throws ConfigError, DataError.
std::unique_ptr<Corpus> open_zip_map(const CorpusConfig& config);

}  // namespace triptych
