// Broken and hostile pictures: every one is refused with a message that says why, none gives a partly grey picture.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <jpeglib.h>
#include <zlib.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "data/image/decode.h"
#include "tests/data/golden_file.h"
#include "tests/support/broken_pictures.h"
#include "tests/support/picture_bytes.h"

namespace triptych {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// The message of the DataError, or what happened instead.
std::string refusal(const Bytes& file, const DecodeConfig& config = {}) {
  try {
    const Image image = decode_image(file, config);
    return "decoded to " + std::to_string(image.width) + " x " + std::to_string(image.height);
  } catch (const DataError& error) {
    return error.what();
  }
}

TEST(DamagedPicture, TheHelpersMakeSoundFiles) {
  EXPECT_EQ(refusal(gray_png(4, 3, deflated(gray_rows(4, 3)))), "decoded to 4 x 3");
  EXPECT_EQ(refusal(sound_jpeg()), "decoded to 301 x 219");
  EXPECT_EQ(refusal(sound_png()), "decoded to 250 x 179");
  EXPECT_EQ(refusal(sound_webp()), "decoded to 45 x 37");
}

TEST(DamagedPicture, CutAtEveryKilobyteAndNearBothEnds) {
  const std::pair<const char*, Bytes> files[] = {
      {"baseline", sound_jpeg()},
      {"progressive", golden_picture("images", "progressive")},
      {"cmyk", golden_picture("images", "cmyk")},
      {"gray", golden_picture("images", "gray")},
      {"rgba", golden_picture("images", "rgba")},
      {"palette", sound_png()},
      {"interlaced", golden_picture("pictures", "png_rgba_interlaced")},
      {"webp lossless", sound_webp()},
      {"webp lossy", golden_picture("pictures", "webp_lossy")},
      {"webp alpha", golden_picture("pictures", "webp_lossy_alpha")},
      {"webp animated", golden_picture("pictures", "webp_animated")},
  };
  for (const auto& [name, file] : files) {
    std::vector<std::size_t> cuts;
    for (std::size_t at = 1024; at < file.size(); at += 1024) cuts.push_back(at);
    for (std::size_t at = 0; at < 64; ++at) cuts.push_back(at), cuts.push_back(file.size() - 1 - at);
    for (const std::size_t at : cuts) {
      const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(at));
      ASSERT_THAT(refusal(cut), Not(HasSubstr("decoded"))) << name << " cut at " << at << " of " << file.size();
    }
  }
}

class BrokenPictureTest : public testing::TestWithParam<BrokenPicture> {};

TEST_P(BrokenPictureTest, IsRefusedWithItsReason) {
  const auto message = refusal(GetParam().file);
  std::istringstream fragments(GetParam().fragments);
  for (std::string fragment; std::getline(fragments, fragment, '|');) EXPECT_THAT(message, HasSubstr(fragment));
}

INSTANTIATE_TEST_SUITE_P(Files, BrokenPictureTest, testing::ValuesIn(broken_pictures()),
                         [](const auto& picture) { return picture.param.name; });

TEST(DamagedPicture, NoByteAtAll) {
  EXPECT_THAT(refusal({}), HasSubstr("got 0 bytes"));
}

TEST(DamagedPicture, AColorBeyondThePalette) {
  for (const char* alpha : {"white", "drop"}) {
    DecodeConfig config;
    config.alpha = alpha;
    EXPECT_EQ(refusal(palette_png(1), config), "decoded to 4 x 3");
    EXPECT_THAT(refusal(palette_png(5), config), HasSubstr("palette"));
  }
}

// A legal progressive JPEG with a scan of its own for each of the first `frequencies` of each component, after one for
// the mean of each: components * (1 + frequencies) scans.
Bytes jpeg_of_scans(int frequencies) {
  constexpr int components = 3;
  std::vector<jpeg_scan_info> scans;
  const auto scan = [&](int component, int low, int high) {
    jpeg_scan_info info{};
    info.comps_in_scan = 1;
    info.component_index[0] = component;
    info.Ss = low, info.Se = high;
    scans.push_back(info);
  };
  for (int c = 0; c < components; ++c) scan(c, 0, 0);
  for (int c = 0; c < components; ++c)
    for (int k = 1; k <= frequencies; ++k) scan(c, k, k);
  jpeg_compress_struct info{};
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = info.image_height = 16;
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  info.scan_info = scans.data();
  info.num_scans = static_cast<int>(scans.size());
  jpeg_start_compress(&info, TRUE);
  for (int y = 0; y < 16; ++y) {
    Bytes row(48);
    for (std::size_t i = 0; i < row.size(); ++i)
      row[i] = static_cast<unsigned char>(i * 37 + static_cast<std::size_t>(y) * 91);
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  const Bytes file(buffer, buffer + size);
  std::free(buffer);
  return file;
}

// Where the scan with this number begins, counted from 1.
std::size_t nth_scan(const Bytes& file, int number) {
  std::size_t at = 0;
  for (int i = 0; i < number; ++i) at = offset_of(file, "\xff\xda", at + 1);
  return at;
}

TEST(DamagedPicture, JpegOfManyScans) {
  EXPECT_EQ(refusal(jpeg_of_scans(32)), "decoded to 16 x 16");                // 99 scans
  EXPECT_THAT(refusal(jpeg_of_scans(33)), HasSubstr("more than 100 scans"));  // 102
  Bytes repeated = jpeg_of_scans(63);                                         // and 80,000 copies of the last scan
  const std::size_t last =
      std::string_view(reinterpret_cast<const char*>(repeated.data()), repeated.size()).rfind("\xff\xda");
  const Bytes scan(repeated.begin() + static_cast<std::ptrdiff_t>(last), repeated.end() - 2);
  repeated.resize(repeated.size() - 2);
  for (int i = 0; i < 80'000; ++i) repeated.insert(repeated.end(), scan.begin(), scan.end());
  EXPECT_THAT(refusal(repeated), HasSubstr("more than 100 scans"));
  // It is not read any further: what is wrong behind the 101st scan is not seen.
  std::fill(repeated.begin() + static_cast<std::ptrdiff_t>(nth_scan(repeated, 103)), repeated.end(), 0xff);
  EXPECT_THAT(refusal(repeated), HasSubstr("more than 100 scans"));
}

// The largest resident size since forget_peak_kb(), which returns the present one.
long peak_kb() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    long value = 0;
    if (word == "VmHWM:" && status >> value) return value;
  }
  ADD_FAILURE() << "no VmHWM in /proc/self/status";
  return 0;
}
long forget_peak_kb() {
  std::ofstream("/proc/self/clear_refs") << "5";
  return peak_kb();
}

TEST(DamagedPicture, BombsAreRefusedFromTheHeader) {
  const Bytes square = gray_png(20000, 20000, deflated(Bytes(1 << 20)));
  const Bytes long_side = gray_png(70000, 1, deflated(gray_rows(70000, 1)));
  const Bytes large_claim = gray_png(8000, 8000, deflated(gray_rows(8, 8)));  // admitted, but the data cannot hold it
  const Bytes widest = gray_png(0x7fffffff, 0x7fffffff, deflated(gray_rows(8, 8)));
  const long before = forget_peak_kb();
  EXPECT_THAT(refusal(square), AllOf(HasSubstr("20000 x 20000"), HasSubstr("data.decode.max_pixels")));
  EXPECT_THAT(refusal(long_side), HasSubstr("sides of at most 65500"));
  EXPECT_THAT(refusal(large_claim), HasSubstr("expected at least 62015"));
  EXPECT_THAT(refusal(widest), HasSubstr("2147483647 x 2147483647"));
  EXPECT_THAT(refusal(gray_png(0, 3, {})), HasSubstr("0 x 3 pixels, expected at least one"));
  EXPECT_LE(peak_kb() - before, 32 << 10);
  // Nothing behind the header is looked at.
  constexpr std::size_t kHeader = 8 + 25;  // signature, IHDR
  EXPECT_THAT(refusal({square.begin(), square.begin() + kHeader}), HasSubstr("20000 x 20000"));
  EXPECT_THAT(refusal({square.begin(), square.begin() + kHeader - 5}), HasSubstr("PNG cut"));
  Bytes jpeg_square = sound_jpeg();
  const auto frame = offset_of(jpeg_square, "\xff\xc0");
  put_big_endian(jpeg_square, frame + 5, 20000u << 16 | 20000u, 4);
  std::fill(jpeg_square.begin() + static_cast<std::ptrdiff_t>(offset_of(jpeg_square, "\xff\xda") + 14),
            jpeg_square.end(), 0);
  EXPECT_THAT(refusal(jpeg_square), HasSubstr("20000 x 20000"));

  DecodeConfig small;
  small.max_pixels = 301 * 219;
  EXPECT_EQ(refusal(sound_jpeg(), small), "decoded to 301 x 219");
  small.max_pixels -= 1;
  EXPECT_THAT(refusal(sound_jpeg(), small), HasSubstr("at most 65918"));
  EXPECT_EQ(refusal(gray_png(65500, 1, deflated(gray_rows(65500, 1)))), "decoded to 65500 x 1");
}

// What a part of a picture leaves out is read all the same: damage below or beside it is found.
TEST(DamagedPicture, DamageOutsideOfTheNeededPartIsFound) {
  const auto corner = [](Size) { return std::vector<PixelNeed>{{{0, 0, 8, 8}, {8, 8}}}; };
  const auto refused = [&](const Bytes& file) {
    try {
      decode_part(file, {}, corner);
    } catch (const DataError&) {
      return true;
    }
    return false;
  };
  for (const char* name : {"jpeg420", "progressive", "gray", "cmyk"}) {
    const Bytes whole = golden_picture("images", name);
    EXPECT_FALSE(refused(whole)) << name;
    for (std::size_t at = 0; at + 2 < whole.size(); at += 257) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(at));
      ASSERT_TRUE(refused(cut)) << name << " cut at " << at << " of " << whole.size();
    }
  }
}

// Padding of some writers before the end marker of a JPEG, however much of it the decoder's bit buffer takes.
TEST(DamagedPicture, AFewBytesBeforeTheEndOfAJpegAreNoDamage) {
  for (const char* name : {"jpeg420", "progressive", "gray", "cmyk"}) {
    const Bytes whole = golden_picture("images", name);
    const auto pixels = decode_image(whole, {}).rgb;
    const auto padded = [&](std::size_t count, unsigned char value) {
      Bytes file = whole;
      file.insert(file.end() - 2, count, value);
      return file;
    };
    ASSERT_EQ(whole.back(), 0xd9) << name;
    for (const int value : {0x00, 0x0a, 0x5a, 0xd9}) {
      for (const std::size_t count : {1, 2, 3, 4, 8, 9, 16, 33, 64}) {
        const auto file = padded(count, static_cast<unsigned char>(value));
        ASSERT_EQ(refusal(file).substr(0, 7), "decoded") << name << " " << count << " bytes " << value;
        EXPECT_EQ(decode_image(file, {}).rgb, pixels) << name << " " << count << " bytes " << value;
      }
      EXPECT_THAT(refusal(padded(200, static_cast<unsigned char>(value))), HasSubstr("extraneous bytes")) << name;
    }
  }
}

// A deflate stream of 2^30 zeros in a megabyte: one piece of 4 MiB, again and again.
Bytes a_packed_gigabyte() {
  const Bytes zeros(4 << 20);
  z_stream stream{};
  EXPECT_EQ(deflateInit(&stream, 9), Z_OK);
  Bytes out(64 << 10);
  const auto add_piece = [&](std::size_t at) {
    stream.next_in = const_cast<Bytef*>(zeros.data());
    stream.avail_in = static_cast<unsigned>(zeros.size());
    stream.next_out = out.data() + at;
    stream.avail_out = static_cast<unsigned>(out.size() - at);
    EXPECT_EQ(deflate(&stream, Z_FULL_FLUSH), Z_OK);
    return out.size() - stream.avail_out;
  };
  const auto first = add_piece(0), second = add_piece(first);
  deflateEnd(&stream);
  Bytes packed(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(first));
  for (int i = 1; i < 256; ++i)
    packed.insert(packed.end(), out.begin() + static_cast<std::ptrdiff_t>(first),
                  out.begin() + static_cast<std::ptrdiff_t>(second));
  EXPECT_GT(packed.size(), 1'000'000U);
  return packed;
}

TEST(DamagedPicture, SmallFilesThatAnnounceMuch) {
  Bytes claim = sound_jpeg();  // 14 KB that announce 8000 x 8000 pixels, which is admitted
  put_big_endian(claim, offset_of(claim, "\xff\xc0") + 5, 8000u << 16 | 8000u, 4);
  Bytes progressive = golden_picture("images", "progressive");
  put_big_endian(progressive, offset_of(progressive, "\xff\xc2") + 5, 8000u << 16 | 8000u, 4);
  const Bytes packed = a_packed_gigabyte();
  Bytes comment = bytes_of(std::string_view("Comment\0\0", 9)), profile = bytes_of(std::string_view("icc\0\0", 5));
  for (auto* data : {&comment, &profile}) data->insert(data->end(), packed.begin(), packed.end());
  const Bytes rows = deflated(gray_rows(4, 3));
  const Bytes comment_bomb = gray_png(4, 3, rows, {png_chunk("zTXt", comment)});
  const Bytes profile_bomb = gray_png(4, 3, rows, {png_chunk("iCCP", profile)});
  const long before = forget_peak_kb();
  EXPECT_THAT(refusal(claim), AllOf(HasSubstr("JPEG cut or damaged: got 14241 bytes"), HasSubstr("8000 x 8000")));
  EXPECT_THAT(refusal(progressive), HasSubstr("JPEG cut or damaged: got 17505 bytes, expected at least 3"));
  EXPECT_EQ(refusal(comment_bomb), "decoded to 4 x 3");
  EXPECT_EQ(refusal(profile_bomb), "decoded to 4 x 3");
  EXPECT_LE(peak_kb() - before, 32 << 10);
  // They are never unpacked: what cannot be unpacked is no damage.
  for (const auto* type : {"zTXt", "iCCP"}) {
    const auto no_stream = png_chunk(type, bytes_of(std::string_view("name\0\0no deflate stream", 23)));
    EXPECT_EQ(refusal(gray_png(4, 3, rows, {no_stream})), "decoded to 4 x 3") << type;
  }
}

// Random damage ends in a picture or a DataError, never in a crash, a hang or another exception (run under sanitizers
// too).
TEST(DamagedPicture, RandomDamageNeverCrashes) {
  const GoldenFile golden("pictures");
  RandomStream draws(random_key(4, Purpose::kTest));
  DecodeConfig config;
  config.max_pixels = 1 << 20;
  std::map<std::string, int> outcomes;
  for (const auto& name : golden.names(".file")) {
    const auto bytes = golden[name + ".file"].bytes;
    if (bytes.size() > 20'000) continue;
    for (int trial = 0; trial < 60; ++trial) {
      Bytes file(bytes.begin(), bytes.end());
      for (auto n = 1 + draws.below(4); n > 0; --n)
        file[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(file.size())))] =
            static_cast<unsigned char>(draws.below(256));
      ++outcomes[refusal(file, config).starts_with("decoded") ? "decoded" : "refused"];
    }
  }
  EXPECT_GT(outcomes["refused"], 500);
}

}  // namespace
}  // namespace triptych
