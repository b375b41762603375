// A list of JSON objects
#pragma once
#include <memory>

#include "data/corpus.h"

namespace triptych {

/// Opens the files that config.path names (format json). Throws ConfigError, DataError.
std::unique_ptr<Corpus> open_json_table(const CorpusConfig& config);

}  // namespace triptych
