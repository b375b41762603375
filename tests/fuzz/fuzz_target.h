// What a fuzz target has: libFuzzer's entry, and inputs to begin with. No torch; inputs are never files on disk.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/base/errors.h"

/// Reads one input; must return for any bytes. What is not an expected error ends the process.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace triptych {

/// Sound inputs that mutations begin with.
std::vector<std::string> fuzz_seeds();

/// Bytes as a file in memory, because the readers under test take files.
class MemoryFile {
 public:
  MemoryFile(const std::uint8_t* data, std::size_t size) : descriptor_(memfd_create("fuzz", MFD_CLOEXEC)) {
    std::size_t done = 0;
    while (descriptor_ >= 0 && done < size) {
      const auto written = ::write(descriptor_, data + done, size - done);
      if (written <= 0) throw std::runtime_error("memfd cannot be written");
      done += static_cast<std::size_t>(written);
    }
    if (descriptor_ < 0) throw std::runtime_error("memfd_create failed");
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

/// A property that must hold for any input.
inline void require(bool holds) {
  if (!holds) std::abort();
}

/// Runs `action`; bad input may only end in a DataError.
template <class Action>
void expect_data_error_at_most(Action&& action) {
  try {
    action();
  } catch (const DataError&) {
    return;
  }
}

}  // namespace triptych
