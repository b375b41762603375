// xxh64 of bytes, of streams and of files: what manifests and step records hold. Not cryptographic.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace triptych {

/// xxh64 (seed 0) of `size` bytes.
std::uint64_t xxh64(const void* data, std::size_t size);
inline std::uint64_t xxh64(std::string_view bytes) {
  return xxh64(bytes.data(), bytes.size());
}

/// xxh64 of a stream: the hash of the pieces is the hash of their concatenation.
class Xxh64 {
 public:
  Xxh64();
  ~Xxh64();
  Xxh64(Xxh64&&) noexcept;
  Xxh64& operator=(Xxh64&&) noexcept;
  Xxh64& add(const void* data, std::size_t size);
  Xxh64& add(std::string_view bytes) { return add(bytes.data(), bytes.size()); }
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// xxh64 of a whole file, read in pieces. Throws StorageError if it cannot be read.
std::uint64_t xxh64_of_file(const std::filesystem::path& path);

/// 16 lower-case hexadecimal digits, as in manifest.json and steps.jsonl.
std::string hash_text(std::uint64_t hash);

}  // namespace triptych
