// The only file that is compiled again when the git revision changes.
#include "apps/version.h"

#include "git_revision.h"

namespace triptych {

std::string git_revision() {
  return TRIPTYCH_GIT_REVISION;
}
std::string version_text() {
  return "triptych " TRIPTYCH_VERSION " (git " + git_revision() + ")";
}

}  // namespace triptych
