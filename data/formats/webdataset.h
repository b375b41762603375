// WebDataset: records as groups of tar members, pictures beside captions, labels and JSON.
#pragma once
#include <memory>

#include "data/corpus.h"

namespace triptych {

/// Opens the shards that config.path names; indexes those without a sound index file. Throws ConfigError.
std::unique_ptr<Corpus> open_webdataset(const CorpusConfig& config);

}  // namespace triptych
