// Lists of class names, and when two names mean the same class.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

/// Names by class index; the first of a class is the one shown, the others are synonyms.
using ClassNames = std::vector<std::vector<std::string>>;

/// One class a line, several names separated by '|'; blanks around names are dropped. Throws ConfigError (file:line):
/// an empty line or name, a name that equals another after normalisation, text that is not UTF-8, a file without
/// classes.
ClassNames read_class_names(const std::string& path);

/// What names are compared by: Unicode case folding (NFKC), blanks, underscores and hyphens as one space, none at the
/// ends. "Golden_Retriever " and "golden retriever" are equal.
std::string normalized_name(std::string_view name);

}  // namespace triptych
