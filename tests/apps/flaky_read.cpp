// Preloaded into the program: a disk or network mount that fails. Reads of files whose path holds FLAKY_FILE, of
// offsets from FLAKY_FROM up to FLAKY_TO, fail with EIO the first FLAKY_TIMES times; with FLAKY_STALL they take that
// many seconds.
#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

long number_of(const char* variable, long otherwise) {
  const char* value = std::getenv(variable);
  return value ? std::atol(value) : otherwise;
}

/// True when this read is to fail.
bool meets_trouble(int file, off_t offset) {
  static const char* const wanted = std::getenv("FLAKY_FILE");
  static const long from = number_of("FLAKY_FROM", 0), to = number_of("FLAKY_TO", 1L << 60);
  static std::atomic<long> left = number_of("FLAKY_TIMES", 0);
  if (!wanted || offset < from || offset >= to) return false;
  char path[4096] = {};
  const auto link = "/proc/self/fd/" + std::to_string(file);
  if (readlink(link.c_str(), path, sizeof(path) - 1) <= 0 || !std::strstr(path, wanted) || left-- <= 0) return false;
  const auto stall = number_of("FLAKY_STALL", 0);
  if (stall == 0) return true;
  sleep(static_cast<unsigned>(stall));
  return false;
}

}  // namespace

extern "C" ssize_t pread(int file, void* buffer, std::size_t size, off_t offset) {
  if (meets_trouble(file, offset)) {
    errno = static_cast<int>(number_of("FLAKY_ERROR", EIO));
    return -1;
  }
  static const auto real = reinterpret_cast<ssize_t (*)(int, void*, std::size_t, off_t)>(dlsym(RTLD_NEXT, "pread"));
  return real(file, buffer, size, offset);
}
