// Zip archives: the central directory and the files it lists.
#include "data/formats/zip_index.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/support/zip_writer.h"

namespace triptych {

std::vector<std::string> fuzz_seeds() {
  ZipWriter zip, zip64;
  zip.file("d/", "").file("a.png", std::string(300, 'p')).file("b.png", std::string(300, 'q'), {.deflate = true});
  zip64.file("a.png", "picture", {.zip64 = true})
      .file("b.png", std::string(200, 'r'), {.deflate = true, .zip64 = true});
  return {zip.bytes(), zip.bytes(false, "a comment"), zip64.bytes(true)};
}

namespace {

void read_all(const InputFile& file) {
  const auto index = ZipIndex::build(file);
  for (const auto* name : {"a.png", "b.png", "d/", "missing"}) {
    expect_data_error_at_most([&] { require(read_zip_entry(file, index, name, 1 << 20).size() <= 1 << 20); });
  }
}

}  // namespace
}  // namespace triptych

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const triptych::MemoryFile memory(data, size);
  triptych::expect_data_error_at_most([&] { triptych::read_all(triptych::InputFile(memory.path())); });
  return 0;
}
