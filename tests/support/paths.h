// Where this build's files are: a function and not a macro, so that the tests themselves compile to the same objects in
// every clone and ccache finds them.
#pragma once
#include <string>

namespace triptych {

/// A file of the project, absolute: `source_path("tests/golden")`.
std::string source_path(const std::string& relative);
/// A file of the build folder: `build_path("triptych")`.
std::string build_path(const std::string& relative);

}  // namespace triptych
