// xxh64 against the numbers of its specification.
#include "core/base/hash.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <utility>

#include "core/base/errors.h"
#include "tests/support/property.h"
#include "tests/support/temp_dir.h"

namespace triptych {
namespace {

TEST(Hash, KnownValues) {
  EXPECT_EQ(xxh64(""), 0xef46db3751d8e999u);
  EXPECT_EQ(xxh64("a"), 0xd24ec4f1a98c6e5bu);
  EXPECT_EQ(xxh64("abc"), 0x44bc2cf5ad770999u);
  EXPECT_EQ(hash_text(xxh64("abc")), "44bc2cf5ad770999");
  EXPECT_EQ(hash_text(0x1f), "000000000000001f");
}

TEST(Hash, PiecesGiveTheHashOfTheWhole) {
  EXPECT_TRUE(holds("stream = whole", [](const std::string& a, const std::string& b) {
    Xxh64 stream;
    stream.add(a).add(b);
    RC_ASSERT(stream.value() == xxh64(a + b));
    Xxh64 moved = std::move(stream);
    RC_ASSERT(moved.add("x").value() == xxh64(a + b + "x"));
  }));
}

TEST(Hash, OfAFile) {
  const TempDir folder;
  const std::string bytes(3'000'000, 'q');
  std::ofstream(folder / "a", std::ios::binary) << bytes;
  EXPECT_EQ(xxh64_of_file(folder / "a"), xxh64(bytes));
  EXPECT_THROW(xxh64_of_file(folder / "absent"), StorageError);
  EXPECT_THROW(xxh64_of_file(folder.path()), StorageError);
}

}  // namespace
}  // namespace triptych
