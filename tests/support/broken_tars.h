// Shards that are damaged, odd or hostile, each with its fixed outcome: what the reader and the program are tested
// with. Pictures of records that can be read are PNG files that can be decoded.
#pragma once
#include <iosfwd>
#include <string>
#include <vector>

#include "tests/support/tar_writer.h"

namespace triptych {

struct BrokenTar {
  const char* name;
  std::string tar;
  std::vector<std::string> captions;  ///< of the records that can be read, in order
  std::vector<std::string> bad;       ///< what "KEY@OFFSET: REASON" begins with, for each bad record in order
  std::string refused;                ///< in the message, if no corpus can be opened
};

/// What GoogleTest prints for a parameter.
void PrintTo(const BrokenTar& tar, std::ostream* out);

std::vector<BrokenTar> broken_tars();

/// Adds record `i` of a sound shard: two members, 2,048 bytes.
TarWriter& record(TarWriter& tar, int i);
TarWriter first_record();

}  // namespace triptych
