// Reading and writing safetensors files.
#include "core/module/safetensors.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "core/base/errors.h"
#include "core/module/safetensors_dtype.h"

namespace triptych {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are written as they lie in memory");
constexpr std::uint64_t kLongestHeader = 100'000'000;  // the format's own limit

std::string system_message() {
  return std::strerror(errno);
}

void read_fully(int file, void* into, std::uint64_t bytes, std::uint64_t offset, const std::filesystem::path& path) {
  auto* place = static_cast<char*>(into);
  while (bytes > 0) {
    const ssize_t got = ::pread(file, place, std::min<std::uint64_t>(bytes, 1U << 30), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw CheckpointError(path.string() + ": read failed at byte " + std::to_string(offset) + ": " +
                            system_message());
    if (got == 0)
      throw CheckpointError(path.string() + ": ends at byte " + std::to_string(offset) + " while it is being read");
    place += got;
    offset += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::uint64_t>(got);
  }
}

std::string_view dtype_name(const NamedTensor& item) {
  for (const auto& [name, dtype] : kSafetensorsDtypes) {
    if (item.tensor.scalar_type() == dtype) return name;
  }
  throw std::logic_error("safetensors: no name for the dtype of '" + item.name + "'");
}

std::string header_of(const std::vector<const NamedTensor*>& ordered,
                      const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t place = 0;
  for (const auto* item : ordered) {
    const std::uint64_t end = place + item->tensor.nbytes();
    header[item->name] = {
        {"dtype", dtype_name(*item)}, {"shape", item->tensor.sizes().vec()}, {"data_offsets", {place, end}}};
    place = end;
  }
  std::string json = header.dump();
  json.resize((json.size() + 7) / 8 * 8, ' ');  // the data begin aligned
  return json;
}

}  // namespace

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path)
    : path_(path), file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
  if (file_.get() < 0) throw CheckpointError(path.string() + ": cannot be opened: " + system_message());
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0 || !S_ISREG(status.st_mode))
    throw CheckpointError(path.string() + ": not a file");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::uint64_t length = 0;
  if (size < sizeof(length))
    throw CheckpointError(path.string() + ": not a sound safetensors file: shorter than 8 bytes");
  read_fully(file_.get(), &length, sizeof(length), 0, path);
  if (length > kLongestHeader || length > size - sizeof(length)) {
    throw CheckpointError(path.string() + ": not a sound safetensors file: claims a header of " +
                          std::to_string(length) + " bytes in a file of " + std::to_string(size));
  }
  std::string json(length, '\0');
  read_fully(file_.get(), json.data(), length, sizeof(length), path);
  data_start_ = sizeof(length) + length;
  header_ = parse_safetensors_header(json, size - data_start_, path.string());
}

at::Tensor SafetensorsReader::read(const std::string& name) const {
  const auto found = header_.tensors.find(name);
  if (found == header_.tensors.end()) throw CheckpointError(path_.string() + ": has no tensor '" + name + "'");
  const StoredTensor& stored = found->second;
  at::Tensor tensor = at::empty(stored.shape, stored.dtype);
  read_fully(file_.get(), tensor.mutable_data_ptr(), stored.end - stored.begin, data_start_ + stored.begin, path_);
  return tensor;
}

std::uint64_t write_safetensors(const std::vector<NamedTensor>& tensors,
                                const std::map<std::string, std::string>& metadata, const ByteSink& sink) {
  std::vector<const NamedTensor*> ordered;
  std::set<std::string> names{"__metadata__"};
  for (const auto& item : tensors) {
    if (!names.insert(item.name).second) throw std::logic_error("safetensors: '" + item.name + "' is given twice");
    ordered.push_back(&item);
  }
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto* a, const auto* b) { return a->tensor.element_size() > b->tensor.element_size(); });
  const std::string header = header_of(ordered, metadata);
  const std::uint64_t length = header.size();
  sink(&length, sizeof(length));
  sink(header.data(), header.size());
  std::uint64_t total = sizeof(length) + length;
  for (const auto* item : ordered) {
    const at::Tensor bytes = item->tensor.detach().to(at::kCPU).contiguous();
    sink(bytes.const_data_ptr(), bytes.nbytes());
    total += bytes.nbytes();
  }
  return total;
}

void save_safetensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  FileHandle file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (file.get() < 0) throw storage_error("cannot create", path, errno);
  write_safetensors(tensors, metadata,
                    [&](const void* data, std::size_t bytes) { write_fully(file.get(), data, bytes, path); });
  if (::fsync(file.get()) != 0 || !file.close()) throw storage_error("cannot write", path, errno);
}

}  // namespace triptych
