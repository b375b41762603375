// Corpora of tiny pictures that a test can recognise again.
#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "tests/support/tar_writer.h"
#include "tests/support/tiny_png.h"

namespace triptych {

/// Shards PREFIX-0.tar, ... with `counts` records; record i of all is an 8 x 8 picture of first value 3 i + 10, the
/// captions "TEXT i" and, in its JSON, "more" with three more; class index i mod `classes` (classes 0: no .cls).
/// Pictures of records in `broken` cannot be decoded. Returns the pattern of the shards.
inline std::string write_small_shards(const std::filesystem::path& prefix, const std::vector<int>& counts,
                                      int classes = 0, const std::string& text = "record",
                                      const std::set<int>& broken = {}) {
  int i = 0;
  for (std::size_t shard = 0; shard < counts.size(); ++shard) {
    TarWriter tar;
    for (const int end = i + counts[shard]; i < end; ++i) {
      const auto key = std::to_string(i), caption = text + " " + key;
      tar.file(key + ".png", broken.contains(i) ? "no picture" : tiny_png(8, 8, 3 * i + 10));
      if (classes > 0) {
        tar.file(key + ".cls", std::to_string(i % classes));
      } else {
        tar.file(key + ".txt", caption);
        tar.file(key + ".json", "{\"more\": [\"" + caption + " a\", \"" + caption + " b\", \"" + caption + " c\"]}");
      }
    }
    write_test_file(prefix.string() + "-" + std::to_string(shard) + ".tar", tar.end().bytes());
  }
  return prefix.string() + "-*.tar";
}

}  // namespace triptych
