// CSV tables: rows with newlines in quotes, and their fields.
#include "data/formats/csv_row.h"
#include "tests/fuzz/row_fuzz.h"

namespace triptych {

std::vector<std::string> fuzz_seeds() {
  return {"image,caption\nx.png,a\ny.png,\"b, \"\"c\"\"\nd\"\n", "\xEF\xBB\xBFimage,caption\r\n\r\nx.png,\r\n",
          "a,b\n\"1,2\n3,4\n5\",6\n\"7,8\n\"9\" 0,1\n", "a,b,c\n\"1\",\"2\",\"3\"\n,,\n\"\"\"\",\"\n\n\",x\n"};
}

}  // namespace triptych

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace triptych;
  fuzz_rows(data, size, {RowRule::Kind::kCsv, ','}, [](const std::string& row) {
    const auto fields = split_csv_row(row, ',');
    std::size_t bytes = 0;
    for (const auto& field : fields) bytes += field.size();
    require(!fields.empty() && bytes <= row.size());
  });
  fuzz_rows(data, size, {RowRule::Kind::kCsv, ',', false}, [](const std::string& row) {
    require(row.find('\n') == std::string::npos && !split_csv_row(row, ',', false).empty());
  });
  return 0;
}
