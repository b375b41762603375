// Tar archives: the walk over headers and the index made of it.
#include "data/formats/shard_index.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/tar_writer.h"

namespace triptych {

std::vector<std::string> fuzz_seeds() {
  TarWriter plain, pax, gnu;
  for (int i = 0; i < 3; ++i) {
    const auto key = "d/r" + std::to_string(i);
    plain.file(key + ".jpg", std::string(700, 'p')).file(key + ".txt", "a caption");
  }
  pax.pax(TarWriter::pax_record("path", "long/name.png") + TarWriter::pax_record("size", "4")).file("x.png", "abcd");
  pax.pax(TarWriter::pax_record("comment", "c"), 'g').file("x.json", "{}");
  gnu.long_name("a/very/long/name.jpg").file("short.jpg", "picture").file("short.txt", "t");
  return {plain.end().bytes(), pax.end().bytes(), gnu.end().bytes(), plain.bytes() + gnu.bytes()};
}

namespace {

void read_all(const InputFile& file) {
  const auto index = ShardIndex::build(file);
  for (std::int64_t i = 0; i < index.size(); ++i) {
    require(index.record(i).offset <= static_cast<std::uint64_t>(file.size()));
    for (const auto& member : index.members(i)) {
      require(member.data_offset + member.size <= static_cast<std::uint64_t>(file.size()));
      require(member.extension < index.extensions().size());
    }
  }
}

}  // namespace
}  // namespace triptych

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const triptych::MemoryFile memory(data, size);
  triptych::expect_data_error_at_most([&] { triptych::read_all(triptych::InputFile(memory.path())); });
  return 0;
}
