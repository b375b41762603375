// A part of a corpus: max_records.
#pragma once
#include <cstdint>
#include <memory>

#include "data/corpus.h"

namespace triptych {

/// How many of `whole` records max_records means: all for 0, floor(limit * whole) but at least 1 for a share below 1.
std::int64_t limited_size(double limit, std::int64_t whole);

/// `corpus` when limited_size() is its size. Otherwise that many, n, of its N records: record k is record floor(k N /
/// n) of the whole: the same ones in every run, evenly spread, so that sorted classes keep their shares.
std::unique_ptr<Corpus> limit_records(std::unique_ptr<Corpus> corpus);

}  // namespace triptych
