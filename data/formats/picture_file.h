// Pictures that a table names by path.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace triptych {

/// A path as a table gives it, taken from the table's folder unless it is absolute. Throws DataError: empty, or with a
/// NUL.
std::string picture_path(const std::string& table, std::string_view path);

/// The bytes of a file. Throws DataError: it cannot be read, is no regular file, or is larger than kLargestPicture.
std::vector<unsigned char> read_picture(const std::string& path);

}  // namespace triptych
