// Which program this is.
#pragma once
#include <string>

namespace triptych {

/// "triptych 0.1.0 (git 0123456789ab)".
std::string version_text();
/// The git revision alone; "unknown" outside of a checkout, "...+changes" with uncommitted changes.
std::string git_revision();

}  // namespace triptych
