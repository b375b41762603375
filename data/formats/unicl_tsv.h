// UniCL's pairs of TSV shards
#pragma once
#include <memory>

#include "data/corpus.h"

namespace triptych {

/// Opens the files that config.path names (format unicl_tsv). Throws ConfigError, DataError.
std::unique_ptr<Corpus> open_unicl_tsv(const CorpusConfig& config);

}  // namespace triptych
