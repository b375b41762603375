#include "tests/support/paths.h"

namespace triptych {

std::string source_path(const std::string& relative) {
  return TRIPTYCH_SOURCE_DIR "/" + relative;
}

std::string build_path(const std::string& relative) {
  return TRIPTYCH_BINARY_DIR "/" + relative;
}

}  // namespace triptych
