// UniCL's shards: lines, and base64 behind a tab.
#include "data/formats/base64.h"
#include "tests/fuzz/row_fuzz.h"

namespace triptych {

std::vector<std::string> fuzz_seeds() {
  return {"1\tcGljdHVyZQ==\n2\tcGljdHVyZQ\n3\tAAAA\n", "\xEF\xBB\xBFid\t//+/\r\n\n\t=\n"};
}

}  // namespace triptych

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace triptych;
  fuzz_rows(data, size, {RowRule::Kind::kLines, ','}, [](const std::string& row) {
    const auto text = row.substr(std::min(row.find('\t'), row.size() - 1) + 1);
    require(decode_base64(text).size() <= text.size());
  });
  return 0;
}
