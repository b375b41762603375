// Small pictures of records spread over a corpus: what one looks at first.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/data_config.h"

namespace triptych {

struct SmallPicture {
  std::int64_t record = 0;
  int width = 0, height = 0;        ///< of the original
  std::vector<unsigned char> jpeg;  ///< at most `side` pixels each way
  std::string text;                 ///< first caption, or name of the class
};

/// `count` usable records at equal distances (fewer when the corpus has fewer; a record that cannot be used is left
/// out), each shrunk to at most `side` pixels each way. The same for any number of threads.
std::vector<SmallPicture> contact_sheet(const Corpus& corpus, std::int64_t count, int side,
                                        const DecodeConfig& decoding, int threads);

}  // namespace triptych
