// A part of a corpus: max_records.
#pragma once
#include <memory>

#include "data/corpus.h"

namespace triptych {

/// `corpus` when config.max_records is 0 or not below its size. Otherwise n of its N records: n = max_records, or
/// max_records * N (rounded down, at least 1) when that is below 1. Record k is record floor(k N / n) of the whole: the
/// same ones in every run, evenly spread, so that sorted classes keep their shares.
std::unique_ptr<Corpus> limit_records(std::unique_ptr<Corpus> corpus);

}  // namespace triptych
