// Preloaded into the program: a disk whose fsync takes a minute, for threads other than the main one (they write
// checkpoints).
#include <dlfcn.h>
#include <unistd.h>

extern "C" int fsync(int file) {
  if (gettid() != getpid()) sleep(60);
  static const auto real = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "fsync"));
  return real(file);
}
