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
/// one at a time and in any order. Records that cannot be read are left out: `data verify` lists them.
/// `progress(done)` may be empty.
template <class Part, class See, class Join, class Progress>
void for_record_pieces(const Corpus& corpus, int threads, const Progress& progress, See&& see, Join&& join) {
  constexpr std::int64_t kPiece = 256, kWave = 64;  // records of a piece, pieces between two words on the progress
  std::mutex mutex;
  for (std::int64_t wave = 0; wave < corpus.size(); wave += kPiece * kWave) {
    const auto end = std::min(wave + kPiece * kWave, corpus.size());
    parallel_for((end - wave + kPiece - 1) / kPiece, threads, [&](std::int64_t piece) {
      Part part;
      const auto begin = wave + piece * kPiece;
      for (auto i = begin; i < std::min(begin + kPiece, end); ++i) {
        Record record;
        try {
          record = corpus.read(i);
        } catch (const DataError&) {
          continue;
        }
        see(part, i, record);
      }
      const std::lock_guard lock(mutex);
      join(part);
    });
    if (progress) progress(end);
  }
}

}  // namespace triptych
