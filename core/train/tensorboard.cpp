// The TFRecord framing and the three messages (Event, Summary, Summary.Value) that scalars need.
#include "core/train/tensorboard.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <protozero/pbf_writer.hpp>

namespace triptych {
namespace {

constexpr const char* kPrefix = "events.out.tfevents.";

std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ (rest & 1 ? 0x82F63B78u : 0u);
    table[byte] = rest;
  }
  return table;
}

/// TFRecord stores checksums rotated and shifted, so that a checksum of data that holds checksums stays useful.
std::uint32_t masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

template <class Number>
void put(std::string& out, Number number) {  // little-endian, as this program's machines are
  char bytes[sizeof(Number)];
  std::memcpy(bytes, &number, sizeof(Number));
  out.append(bytes, sizeof(Number));
}

std::filesystem::path event_file(const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().rfind(kPrefix, 0) == 0) return entry.path();
  }
  const auto now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch());
  char host[256] = "host";
  gethostname(host, sizeof(host) - 1);
  return folder / (kPrefix + std::to_string(now.count()) + "." + host);
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static const auto table = crc_table();
  std::uint32_t crc = 0xffffffffu;
  for (const char byte : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return crc ^ 0xffffffffu;
}

TensorBoardFile::TensorBoardFile(const std::filesystem::path& folder, std::int64_t length)
    : file_(event_file(folder), length) {
  if (file_.length() > 0) return;
  std::string event;
  protozero::pbf_writer writer(event);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  writer.add_double(1, std::chrono::duration<double>(now).count());
  writer.add_string(3, "brain.Event:2");
  record(event);
}

void TensorBoardFile::scalars(std::int64_t step, double wall_time,
                              const std::vector<std::pair<std::string, double>>& values) {
  std::string summary;
  protozero::pbf_writer summary_writer(summary);
  for (const auto& [tag, number] : values) {
    std::string value;
    protozero::pbf_writer value_writer(value);
    value_writer.add_string(1, tag);
    value_writer.add_float(2, static_cast<float>(number));
    summary_writer.add_message(1, value);
  }
  std::string event;
  protozero::pbf_writer writer(event);
  writer.add_double(1, wall_time);
  writer.add_int64(2, step);
  writer.add_message(5, summary);
  record(event);
}

void TensorBoardFile::record(const std::string& event) {
  std::string framed;
  put(framed, static_cast<std::uint64_t>(event.size()));
  put(framed, masked_crc(framed));
  framed += event;
  put(framed, masked_crc(event));
  file_.append(framed);
}

}  // namespace triptych
