#include "distributed/shared_segment.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>

#include "distributed/launch_environment.h"

namespace triptych {
namespace {

/// The file that this process made among those it has mapped: vader_segment.HOST.USER.JOB.RANK_ON_HOST.
std::string own_segment() {
  const auto rank = environment_variable("OMPI_COMM_WORLD_NODE_RANK");
  if (!rank) return "";
  const std::string end = "." + *rank;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const auto begin = line.find("/dev/shm/vader_segment.");
    if (begin != line.npos && line.ends_with(end)) return line.substr(begin);
  }
  return "";
}

}  // namespace

void SharedSegment::hide() {
  const auto path = own_segment();
  if (!path.empty() && ::unlink(path.c_str()) == 0) path_ = path;
}

void SharedSegment::show() const {
  if (path_.empty()) return;
  const int file = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file >= 0) ::close(file);
}

}  // namespace triptych
