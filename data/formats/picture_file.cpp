// Tables are data of the user: paths are read, never written, so one that leaves the folder is only a path.
#include "data/formats/picture_file.h"

#include <filesystem>

#include "core/base/errors.h"
#include "data/formats/input_file.h"
#include "data/formats/printable.h"
#include "data/formats/table_corpus.h"

namespace triptych {

std::string picture_path(const std::string& table, std::string_view path) {
  if (path.empty()) throw DataError("the path of the picture is empty");
  if (path.find('\0') != std::string_view::npos) throw DataError("the path of the picture holds a NUL");
  return (std::filesystem::path(table).parent_path() / path).string();
}

std::vector<unsigned char> read_picture(const std::string& path) {
  const InputFile file(path);
  if (file.size() > kLargestPicture) {
    throw DataError(printable(path) + " has " + std::to_string(file.size()) + " bytes; at most " +
                    std::to_string(kLargestPicture) + " are read");
  }
  std::vector<unsigned char> bytes(static_cast<std::size_t>(file.size()));
  bytes.resize(file.read_at(0, bytes));
  return bytes;
}

}  // namespace triptych
