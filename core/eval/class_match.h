// Finds classes of one label table in another by name.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace triptych {

/// For each class of `names`, the index in `known` of the first class that shares a name with it after normalisation
/// (case, spaces, underscores; see normalized_name). Throws ConfigError, beginning with `what`, that lists the
/// classes without a match.
std::vector<std::int64_t> match_classes(const std::vector<std::vector<std::string>>& names,
                                        const std::vector<std::vector<std::string>>& known, const std::string& what);

}  // namespace triptych
