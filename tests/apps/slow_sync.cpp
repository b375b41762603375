// Preloaded into the program: a disk that takes a minute for every file of a checkpoint.
#include <dlfcn.h>
#include <unistd.h>

#include <cstring>
#include <string>

extern "C" int fsync(int file) {
  char path[4096] = {};
  const auto link = "/proc/self/fd/" + std::to_string(file);
  if (readlink(link.c_str(), path, sizeof(path) - 1) > 0 && std::strstr(path, "/checkpoints/step_") != nullptr)
    sleep(60);
  static const auto real = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "fsync"));
  return real(file);
}
