// `triptych data phrases`.
#pragma once
#include <nlohmann/json.hpp>
#include <vector>

#include "apps/command_line.h"
#include "data/corpus_config.h"

namespace triptych {

/// A row for each of the corpora that names a file of phrases. Throws ConfigError when none does, or when --import or
/// --export meets more than one.
nlohmann::ordered_json make_phrases(const DataArguments& arguments, const std::vector<CorpusConfig>& corpora);

}  // namespace triptych
