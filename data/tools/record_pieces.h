// Going through all records of a corpus on several threads. Internal to data/tools.
#pragma once
#include <algorithm>
#include <cstdint>
#include <mutex>

#include "core/base/errors.h"
#include "data/corpus.h"
#include "data/formats/parallel_for.h"

namespace triptych {

/// Each piece of neighbouring records fills a Part of its own by see(part, index, record); join(part) then takes it,
/// one at a time and in any order. Records that cannot be read, or that see() throws a DataError for before it changes
/// its part, are left out: returns how many. `data verify` lists those that cannot be read. `progress(done)` may be
/// empty.
template <class Part, class See, class Join, class Progress>
std::int64_t for_record_pieces(const Corpus& corpus, int threads, const Progress& progress, See&& see, Join&& join) {
  constexpr std::int64_t kPiece = 256, kWave = 64;  // records of a piece, pieces between two words on the progress
  std::mutex mutex;
  std::int64_t left_out = 0;
  for (std::int64_t wave = 0; wave < corpus.size(); wave += kPiece * kWave) {
    const auto end = std::min(wave + kPiece * kWave, corpus.size());
    parallel_for((end - wave + kPiece - 1) / kPiece, threads, [&](std::int64_t piece) {
      Part part;
      std::int64_t bad = 0;
      const auto begin = wave + piece * kPiece;
      for (auto i = begin; i < std::min(begin + kPiece, end); ++i) {
        try {
          see(part, i, corpus.read(i));
        } catch (const DataError&) {
          ++bad;
        }
      }
      const std::lock_guard lock(mutex);
      join(part);
      left_out += bad;
    });
    if (progress) progress(end);
  }
  return left_out;
}

}  // namespace triptych
