// Streams through zlib or libzstd; memory is two buffers and the decoder's window (at most 128 MiB for zstd).
#include "data/formats/unpacked_shard.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/base/atomic_file.h"
#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/log.h"
#include "data/formats/index_file.h"
#include "data/formats/printable.h"
#include "data/formats/tar_scan.h"

namespace triptych {
namespace {

constexpr std::size_t kBuffer = 256 << 10;

using Sink = std::function<void(std::span<const unsigned char>)>;
using Source = std::function<std::span<const unsigned char>()>;  ///< the next bytes; none at the end

/// How unpacking ended: nothing when the stream was whole, otherwise what is wrong.
using Trouble = std::optional<std::string>;

Trouble unpack_gzip(const Source& source, const Sink& sink) {
  z_stream stream{};
  if (inflateInit2(&stream, MAX_WBITS + 16) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, int (*)(z_stream*)> ending(&stream, inflateEnd);
  std::vector<unsigned char> out(kBuffer);
  bool inside = true;              // a member of the file was begun
  const auto skip_padding = [&] {  // zeros between and behind members, as gzip does
    for (; stream.avail_in > 0 && *stream.next_in == 0; --stream.avail_in) ++stream.next_in;
  };
  for (auto in = source(); !in.empty(); in = source()) {
    stream.next_in = const_cast<unsigned char*>(in.data());
    stream.avail_in = static_cast<uInt>(in.size());
    if (!inside) skip_padding();
    do {
      stream.next_out = out.data();
      stream.avail_out = static_cast<uInt>(out.size());
      const int status = inflate(&stream, Z_NO_FLUSH);
      sink({out.data(), out.size() - stream.avail_out});
      if (status == Z_STREAM_END) {  // another member may follow
        inflateReset(&stream);
        skip_padding();
        inside = stream.avail_in > 0;
      } else if (status == Z_OK) {
        inside = true;
      } else if (status != Z_BUF_ERROR) {  // nothing was left to do
        return "its gzip data is damaged";
      }
    } while (stream.avail_in > 0 || stream.avail_out == 0);
  }
  return inside ? Trouble("its gzip data is cut") : std::nullopt;
}

Trouble unpack_zstd(const Source& source, const Sink& sink) {
  const std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(), ZSTD_freeDStream);
  if (!stream) throw std::bad_alloc();
  std::vector<unsigned char> out(kBuffer);
  std::size_t wanted = 1;  // 0: a frame has ended
  for (auto bytes = source(); !bytes.empty(); bytes = source()) {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    ZSTD_outBuffer to{out.data(), out.size(), 0};
    do {
      to.pos = 0;
      wanted = ZSTD_decompressStream(stream.get(), &to, &in);
      if (ZSTD_isError(wanted)) return std::string("its zstd data is damaged (") + ZSTD_getErrorName(wanted) + ")";
      sink({out.data(), to.pos});
    } while (in.pos < in.size || (to.pos == to.size && wanted != 0));
  }
  return wanted != 0 ? Trouble("its zstd data is cut") : std::nullopt;
}

/// A new file that is removed unless it gets its name.
class Copy {
 public:
  explicit Copy(const std::string& path) : path_(path) {
    temporary_ = path + ".XXXXXX";
    handle_ = FileHandle(mkostemp(temporary_.data(), O_CLOEXEC));
    if (handle_.get() < 0) throw storage_error("cannot make", temporary_, errno);
  }
  ~Copy() {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;
  void write(std::span<const unsigned char> bytes) {
    write_fully(handle_.get(), bytes.data(), bytes.size(), temporary_);
    size_ += static_cast<std::int64_t>(bytes.size());
  }
  std::int64_t size() const { return size_; }
  const std::string& temporary() const { return temporary_; }
  void keep() {
    if (!handle_.close()) throw storage_error("cannot write", temporary_, errno);
    sync_file(temporary_);
    rename_durably(temporary_, path_);
    temporary_.clear();
  }

 private:
  std::string path_, temporary_;
  FileHandle handle_;
  std::int64_t size_ = 0;
};

/// What a walk over the copy's headers meets.
struct Walk {
  bool found_header = false, damaged = false;
  bool ends_cut = false;  ///< the last member or header is cut, so the damage is a bad record already
};

Walk walk(const std::string& tar) {
  const InputFile file(tar);
  TarScan scan(file);
  Walk met;
  while (const auto member = scan.next()) {
    met.damaged |= member->damage != Damage::kNone;
    met.ends_cut = member->damage == Damage::kPayloadCut || member->damage == Damage::kHeaderCut;
  }
  met.found_header = scan.found_header();
  return met;
}

/// The header of a member without a name that has bytes, all of them cut off. With a sound checksum: behind an end mark
/// anything else is taken for padding.
std::array<unsigned char, kTarBlock> lost_header() {
  std::array<unsigned char, kTarBlock> header{};
  const auto put = [&](std::size_t at, std::string_view text) { std::copy(text.begin(), text.end(), &header[at]); };
  put(124, "00000000001");
  put(148, "        ");  // the checksum counts itself as blanks
  put(156, "0");
  put(257, std::string_view("ustar\00000", 8));
  auto sum = std::accumulate(header.begin(), header.end(), 0U);
  for (std::size_t digit = 6; digit-- > 0; sum /= 8) header[148 + digit] = static_cast<unsigned char>('0' + sum % 8);
  header[154] = 0;
  return header;
}

/// Behind whole blocks a header without its bytes: the walk over the copy meets it as a lost record.
void add_lost_record(Copy& copy) {
  const auto padding = static_cast<std::size_t>((kTarBlock - copy.size() % kTarBlock) % kTarBlock);
  copy.write(std::vector<unsigned char>(padding));
  copy.write(lost_header());
}

void unpack(const InputFile& shard, bool gzip, const std::string& path) {
  Copy copy(path);
  std::vector<unsigned char> in(kBuffer);
  std::int64_t at = 0;
  const Source source = [&] {
    const auto got = shard.read_at(at, in);
    at += static_cast<std::int64_t>(got);
    return std::span<const unsigned char>(in.data(), got);
  };
  const auto limit = kGrowthFree + shard.size() * kMostGrowth;
  const Sink sink = [&](std::span<const unsigned char> bytes) {
    copy.write(bytes);
    if (copy.size() > limit) {
      throw DataError(printable(shard.path()) + " grows to more than " + std::to_string(kMostGrowth) +
                      " times its size when it is unpacked: no shard of pictures does");
    }
  };
  const auto trouble = gzip ? unpack_gzip(source, sink) : unpack_zstd(source, sink);
  const auto met = walk(copy.temporary());
  if (!met.found_header && (trouble || met.damaged)) {
    throw DataError(printable(shard.path()) + ": " + trouble.value_or("what is packed in it is no tar archive"));
  }
  if (trouble) {
    log_warning(printable(shard.path()) + ": " + *trouble + "; the records before the damage are used");
    if (!met.ends_cut) add_lost_record(copy);
  }
  copy.keep();
}

}  // namespace

std::string unpacked_shard(const InputFile& shard, const std::string& index_dir) {
  unsigned char magic[4] = {};
  shard.read_at(0, magic);
  const bool gzip = magic[0] == 0x1F && magic[1] == 0x8B;
  const bool zstd = magic[0] == 0x28 && magic[1] == 0xB5 && magic[2] == 0x2F && magic[3] == 0xFD;
  if (!gzip && !zstd) return {};
  const std::int64_t size = shard.size();
  const auto content = shard_content_hash(shard);
  const auto hash = Xxh64().add(&size, sizeof(size)).add(&content, sizeof(content)).value();
  const auto path = index_path(shard.path(), index_dir, "-" + hash_text(hash) + ".unpacked");
  std::error_code none;
  if (std::filesystem::exists(path, none)) return path;
  if (!index_dir.empty()) std::filesystem::create_directories(index_dir, none);
  log_info("unpacking " + printable(shard.path()) + " to " + printable(path));
  try {
    unpack(shard, gzip, path);
  } catch (const StorageError& error) {
    throw StorageError(std::string(error.what()) +
                       "; a packed shard is unpacked once: name a folder with room in "
                       "index_dir, or unpack it yourself");
  }
  return path;
}

}  // namespace triptych
