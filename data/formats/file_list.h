// Which files a corpus's path means.
#pragma once
#include <string>
#include <vector>

namespace triptych {

/// Brace lists become names: "{000..012}" (as wide as its wider end when one has a leading zero), "{a,b,c}", several of
/// them multiplied. Throws ConfigError: an unclosed or empty brace, or more than kMostFiles names.
std::vector<std::string> expand_braces(const std::string& pattern);

/// The files and folders that `pattern` names by braces and shell wildcards (* ? [...]), each once: in the order of the
/// braces, so that two lists can be written in pairs, and what a wildcard matches sorted by bytes. One that is called
/// exactly like the pattern is taken as it is; wildcards pass over index files. Throws ConfigError: nothing matches one
/// of the names that the braces give, a folder cannot be read, a brace list is wrong.
std::vector<std::string> list_files(const std::string& pattern);
/// The same for a key of a corpus: what is thrown begins with the key.
std::vector<std::string> list_files(const char* key, const std::string& pattern);

inline constexpr std::size_t kMostFiles = 1'000'000;

}  // namespace triptych
