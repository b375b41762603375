// xxh64 by libxxhash.
#include "core/base/hash.h"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <new>
#include <vector>

#include "core/base/atomic_file.h"

namespace triptych {

struct Xxh64::State {
  State() {
    if (xxh == nullptr) throw std::bad_alloc();
    XXH64_reset(xxh, 0);
  }
  ~State() { XXH64_freeState(xxh); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  XXH64_state_t* xxh = XXH64_createState();
};

Xxh64::Xxh64() : state_(std::make_unique<State>()) {}
Xxh64::~Xxh64() = default;
Xxh64::Xxh64(Xxh64&&) noexcept = default;
Xxh64& Xxh64::operator=(Xxh64&&) noexcept = default;

Xxh64& Xxh64::add(const void* data, std::size_t size) {
  if (size > 0) XXH64_update(state_->xxh, data, size);
  return *this;
}

std::uint64_t Xxh64::value() const {
  return XXH64_digest(state_->xxh);
}

std::uint64_t xxh64(const void* data, std::size_t size) {
  return XXH64(data, size, 0);
}

std::uint64_t xxh64_of_file(const std::filesystem::path& path) {
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) throw storage_error("cannot open", path, errno);
  Xxh64 hash;
  std::vector<char> piece(1 << 20);
  while (true) {
    const auto got = ::read(file.get(), piece.data(), piece.size());
    if (got == 0) return hash.value();
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw storage_error("cannot read", path, errno);
    hash.add(piece.data(), static_cast<std::size_t>(got));
  }
}

std::string hash_text(std::uint64_t hash) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
  return text.data();
}

}  // namespace triptych
