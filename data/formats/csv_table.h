// A table with a header row
#pragma once
#include <memory>

#include "data/corpus.h"

namespace triptych {

/// Opens the files that config.path names (format csv). Throws ConfigError, DataError.
std::unique_ptr<Corpus> open_csv_table(const CorpusConfig& config);

}  // namespace triptych
