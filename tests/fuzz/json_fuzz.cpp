// JSON tables: the elements of an array, lines, and the captions of an object.
#include <nlohmann/json.hpp>

#include "data/formats/printable.h"
#include "data/formats/record_text.h"
#include "tests/fuzz/row_fuzz.h"

namespace triptych {

std::vector<std::string> fuzz_seeds() {
  return {R"([{"image": "a.png", "caption": "x ], [ \" \\"}, {"image": "b.png", "caption": ["p", "q", ""]}])",
          "{\"image\": \"a\", \"caption\": \"caf\xC3\xA9\"}\n\n{\"caption\": [\"b\"], \"label\": 3}\n",
          " [\n {\"caption\": {\"a\": [1, 2.5e3, null, true]}} ,\n [] ] "};
}

}  // namespace triptych

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace triptych;
  fuzz_rows(data, size, {RowRule::Kind::kJson, ','}, [](const std::string& row) {
    const auto object = parse_object(row);
    expect_data_error_at_most([&] { json_label_text(object, "label"); });
    expect_data_error_at_most([&] { require(json_label(object, "label", 10) < 10); });
    for (const auto& caption : all_captions(object, {"caption"})) require(!caption.empty() && is_utf8(caption));
  });
  return 0;
}
