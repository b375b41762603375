// What the targets of tables share: every row of an input is found, read and parsed.
#pragma once
#include "data/formats/row_index.h"
#include "tests/fuzz/fuzz_target.h"

namespace triptych {

/// Indexes the input by `rule` and calls parse() with every row, whose DataErrors are expected.
template <class Parse>
void fuzz_rows(const std::uint8_t* data, std::size_t size, RowRule rule, Parse&& parse) {
  const MemoryFile memory(data, size);
  const InputFile file(memory.path());
  expect_data_error_at_most([&] {
    const auto index = RowIndex::build(file, rule, {});
    for (std::int64_t row = 0; row < index.size(); ++row) {
      require(index.begin(row) < index.end(row) && index.end(row) <= file.size());
      require(index.line(file, row) >= 1);
      expect_data_error_at_most([&] { parse(read_row(file, index, rule, row, kLongestRow)); });
    }
  });
}

}  // namespace triptych
