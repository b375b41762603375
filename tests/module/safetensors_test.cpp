// Safetensors files: round trip, what Python's library makes of ours and we of its, and headers that must be refused.
#include "core/module/safetensors.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <fstream>

#include "core/base/errors.h"
#include "tests/support/paths.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tensors.h"

namespace triptych {
namespace {

std::vector<NamedTensor> samples() {
  return {{"half", draw({1}, {3, 2}).to(at::kHalf)},       {"empty", at::empty({0, 4}, at::kFloat)},
          {"scalar", at::scalar_tensor(2.5, at::kDouble)}, {"transposed", draw({2}, {3, 5}).to(at::kFloat).t()},
          {"bf16", draw({3}, {4}).to(at::kBFloat16)},      {"numbers \"quoted\" \xc3\xa9", at::arange(5, at::kLong)},
          {"bytes", at::tensor({1, 2, 255}, at::kByte)},   {"flags", at::tensor({1, 0, 1}, at::kByte).to(at::kBool)},
          {"small", at::tensor({-3, 4}, at::kChar)},       {"i16", at::tensor({-3, 400}, at::kShort)},
          {"i32", at::tensor({-3, 1 << 30}, at::kInt)}};
}

TEST(Safetensors, RoundTripKeepsBitsAndMetadata) {
  const TempDir folder;
  save_safetensors(folder / "a.safetensors", samples(), {{"format", "pt"}, {"step", "12"}});
  const SafetensorsReader file(folder / "a.safetensors");
  EXPECT_EQ(file.tensors().size(), samples().size());
  EXPECT_EQ(file.metadata().at("step"), "12");
  for (const auto& [name, tensor] : samples()) {
    const at::Tensor read = file.read(name);
    EXPECT_EQ(read.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(at::equal(read, tensor)) << name;
    EXPECT_EQ(file.tensors().at(name).begin % tensor.element_size(), 0U) << name;
  }
  EXPECT_THROW(file.read("nothing"), CheckpointError);
}

TEST(Safetensors, SinkGetsTheBytesOfTheFile) {
  const TempDir folder;
  save_safetensors(folder / "a.safetensors", samples());
  std::string bytes;
  const auto length = write_safetensors(
      samples(), {}, [&](const void* data, std::size_t n) { bytes.append(static_cast<const char*>(data), n); });
  std::ifstream stream(folder / "a.safetensors", std::ios::binary);
  EXPECT_EQ(bytes, std::string(std::istreambuf_iterator<char>(stream), {}));
  EXPECT_EQ(length, bytes.size());
}

TEST(Safetensors, PythonReadsOursAndWeReadIts) {
  const TempDir folder;
  const std::string ours = folder / "ours.safetensors", theirs = folder / "theirs.safetensors";
  std::vector<NamedTensor> known;
  for (const auto& item : samples()) {
    if (item.name != "bf16") known.push_back(item);  // numpy has no bf16
  }
  save_safetensors(ours, known, {{"format", "np"}});
  const std::string command =
      source_path(".venv/bin/python") + " -c \"" +
      "from safetensors.numpy import load_file, save_file;"
      "t = load_file('" +
      ours +
      "');"
      "assert t['scalar'] == 2.5 and t['scalar'].shape == () and t['transposed'].shape == (5, 3);"
      "save_file(t, '" +
      theirs + "')\"";
  ASSERT_EQ(std::system(command.c_str()), 0) << command;
  const SafetensorsReader file(theirs);
  EXPECT_EQ(file.tensors().size(), known.size());
  for (const auto& [name, tensor] : known) EXPECT_TRUE(at::equal(file.read(name), tensor)) << name;
}

TEST(Safetensors, WriterRefusesWhatTheFormatCannotHold) {
  const auto drop = [](const void*, std::size_t) {};
  EXPECT_THROW(write_safetensors({{"a", at::ones({1})}, {"a", at::ones({1})}}, {}, drop), std::logic_error);
  EXPECT_THROW(write_safetensors({{"__metadata__", at::ones({1})}}, {}, drop), std::logic_error);
  EXPECT_THROW(write_safetensors({{"c", at::ones({1}, at::kComplexFloat)}}, {}, drop), std::logic_error);
  EXPECT_THROW(save_safetensors("/proc/nothing/here", {}), StorageError);
}

// --- Hostile headers

std::string refusal(const std::string& json, std::uint64_t data_bytes) {
  try {
    parse_safetensors_header(json, data_bytes, "file");
  } catch (const CheckpointError& e) {
    return e.what();
  }
  return "(accepted)";
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

struct Hostile {
  std::string json;
  std::uint64_t data_bytes;
  std::string expected;  ///< part of the message
};

TEST(SafetensorsHeader, RefusesEachFaultWithItsOwnMessage) {
  const std::string a4 = R"("a":)" + entry("F32", "[1]", "[0,4]");
  const std::vector<Hostile> cases = {
      {"", 0, "does not begin with '{'"},
      {" {}", 0, "does not begin with '{'"},
      {"[]", 0, "does not begin with '{'"},
      {"{", 0, "no JSON"},
      {"{}x", 0, "no JSON"},
      {"{\"\xff\xfe\":1}", 0, "no JSON"},
      {"{}", 4, "4 bytes after the last tensor"},
      {"{" + a4 + "}", 8, "4 bytes after the last tensor"},
      {"{" + a4 + "}", 3, "pass the end"},
      {"{" + a4 + "," + a4 + "}", 4, "occurs twice"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "occurs twice"},
      {"{" + a4 + R"(,"b":)" + entry("F32", "[1]", "[2,6]") + "}", 6, "overlap"},
      {"{" + a4 + R"(,"b":)" + entry("F32", "[1]", "[0,4]") + "}", 4, "overlap"},
      {"{" + a4 + R"(,"b":)" + entry("F32", "[1]", "[6,10]") + "}", 10, "hole"},
      {R"({"a":)" + entry("F32", "[1]", "[4,8]") + "}", 8, "hole"},
      {R"({"a":)" + entry("F32", "[2]", "[0,4]") + "}", 4, "where its shape and dtype need 8"},
      {R"({"a":)" + entry("F32", "[1]", "[4,0]") + "}", 4, "pass the end"},
      {R"({"a":)" + entry("F32", "[1]", "[0,18446744073709551615]") + "}", 4, "pass the end"},
      {R"({"a":)" + entry("F32", "[4294967296,4294967296]", "[0,0]") + "}", 0, "absurdly large"},
      {R"({"a":)" + entry("F32", "[9223372036854775807,2]", "[0,0]") + "}", 0, "absurdly large"},
      {R"({"a":)" + entry("U8", "[4294967296,4294967296,0]", "[0,0]") + "}", 0, "absurdly large"},
      {R"({"a":)" + entry("F32", "[18446744073709551615]", "[0,4]") + "}", 4, "absurdly large"},
      {R"({"a":)" + entry("F32", "[18446744073709551616]", "[0,4]") + "}", 4, "not a whole number"},
      {R"({"a":)" + entry("F32", "[-1]", "[0,4]") + "}", 4, "not a whole number"},
      {R"({"a":)" + entry("F32", "[1.0]", "[0,4]") + "}", 4, "not a whole number"},
      {R"({"a":)" + entry("F32", "[[1]]", "[0,4]") + "}", 4, "nested deeper"},
      {R"({"a":)" + entry("F32", "1", "[0,4]") + "}", 4, "not a list"},
      {R"({"a":)" + entry("F32", "[1]", "[0,4,8]") + "}", 4, "not a pair"},
      {R"({"a":)" + entry("F32", "[1]", "[-4,0]") + "}", 4, "not a whole number"},
      {R"({"a":)" + entry("F8_E4M3", "[4]", "[0,4]") + "}", 4, "unknown dtype"},
      {R"({"a":)" + entry("f32", "[1]", "[0,4]") + "}", 4, "unknown dtype"},
      {R"({"a":{"dtype":3,"shape":[1],"data_offsets":[0,4]}})", 4, "not a string"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 4, "must have exactly"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}})", 4, "must have exactly"},
      {R"({"a":[]})", 0, "must have exactly"},
      {R"({"__metadata__":[]})", 0, "__metadata__ is not a map"},
      {R"({"__metadata__":{"a":1}})", 0, "is not a string"},
      {"{\"a\":" + std::string(100'000, '[') + "}", 0, "nested deeper"},
      {"{\"a\":" + std::string(100'000, '{'), 0, "no JSON"},
      {R"({"a":{"b":{"c":{"d":1}}}})", 0, "nested deeper"},
  };
  for (const auto& [json, data_bytes, expected] : cases) {
    const std::string message = refusal(json, data_bytes);
    EXPECT_NE(message.find(expected), std::string::npos) << json.substr(0, 200) << "\n  " << message;
  }
}

TEST(SafetensorsHeader, AcceptsWhatIsSound) {
  EXPECT_EQ(refusal("{}", 0), "(accepted)");
  EXPECT_EQ(refusal("{}       ", 0), "(accepted)");
  EXPECT_EQ(refusal(R"({"a":)" + entry("F32", "[0,7]", "[0,0]") + R"(,"b":)" + entry("U8", "[]", "[0,1]") + "}", 1),
            "(accepted)");
}

TEST(SafetensorsHeader, TimeGrowsWithTheNumberOfTensorsOnly) {
  const auto header = [](int count) {
    std::string json = "{";
    for (int i = 0; i < count; ++i) json += "\"" + std::to_string(i) + "\":" + entry("U8", "[0]", "[0,0]") + ",";
    json.back() = '}';
    return json;
  };
  const std::string most = header(100'000), million = header(1'000'000);
  const std::clock_t start = std::clock();  // processor time: tests share their machine
  EXPECT_EQ(refusal(most, 0), "(accepted)");
  EXPECT_NE(refusal(million, 0).find("more than 100000 tensors"), std::string::npos);
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 3);
}

std::string file_refusal(const TempDir& folder, const std::string& bytes) {
  std::ofstream(folder / "bad", std::ios::binary) << bytes;
  try {
    const SafetensorsReader file(folder / "bad");
  } catch (const CheckpointError& e) {
    return e.what();
  }
  return "(accepted)";
}

TEST(SafetensorsReader, RefusesLengthsThatLie) {
  const TempDir folder;
  const auto length = [](std::uint64_t n) { return std::string(reinterpret_cast<const char*>(&n), sizeof(n)); };
  EXPECT_NE(file_refusal(folder, "").find("shorter than 8"), std::string::npos);
  EXPECT_NE(file_refusal(folder, "1234567").find("shorter than 8"), std::string::npos);
  EXPECT_NE(file_refusal(folder, length(3) + "{}").find("claims a header of 3"), std::string::npos);
  EXPECT_NE(file_refusal(folder, length(~std::uint64_t{0}) + "{}").find("claims a header"), std::string::npos);
  EXPECT_NE(file_refusal(folder, length(100'000'001)).find("claims a header"), std::string::npos);
  EXPECT_NE(file_refusal(folder, length(0)).find("does not begin"), std::string::npos);
  EXPECT_EQ(file_refusal(folder, length(2) + "{}"), "(accepted)");
  EXPECT_THROW(SafetensorsReader(folder / "missing"), CheckpointError);
  EXPECT_THROW(SafetensorsReader(folder.path()), CheckpointError);
}

TEST(SafetensorsReader, AFileCutWhileOpenIsAnError) {
  const TempDir folder;
  save_safetensors(folder / "a", {{"x", at::ones({100})}});
  const SafetensorsReader file(folder / "a");
  std::filesystem::resize_file(folder / "a", 200);
  EXPECT_THROW(file.read("x"), CheckpointError);
}

}  // namespace
}  // namespace triptych
