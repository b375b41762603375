// Pictures that are no pictures, cut, damaged or hostile, each with what its refusal says: what the decoder and the
// program are tested with.
#pragma once
#include <iosfwd>
#include <string>
#include <vector>

namespace triptych {

struct BrokenPicture {
  std::string name;
  std::vector<unsigned char> file;
  std::string fragments;  ///< all are in the message; separated by '|'
};

/// What GoogleTest prints for a parameter.
void PrintTo(const BrokenPicture& picture, std::ostream* out);

std::vector<BrokenPicture> broken_pictures();

}  // namespace triptych
