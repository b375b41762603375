// Broken and hostile pictures: every one is refused with a message that says why, none gives a partly grey picture.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <jpeglib.h>
#include <zlib.h>

#include <cstdlib>
#include <fstream>
#include <functional>

#include "core/base/errors.h"
#include "core/base/random_key.h"
#include "data/image/decode.h"
#include "tests/data/golden_file.h"

namespace triptych {
namespace {

using Bytes = std::vector<unsigned char>;
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

Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

Bytes golden_file(const std::string& file, const std::string& name) {
  static std::map<std::string, GoldenFile> files;
  const auto& golden = files.try_emplace(file, file).first->second;
  const auto bytes = golden[name + ".file"].bytes;
  return {bytes.begin(), bytes.end()};
}
Bytes jpeg() {
  return golden_file("images", "jpeg420");
}
Bytes png() {
  return golden_file("images", "palette");
}
Bytes webp() {
  return golden_file("pictures", "webp_lossless");
}

std::size_t find(const Bytes& file, std::string_view pattern, std::size_t from = 0) {
  const auto at = std::string_view(reinterpret_cast<const char*>(file.data()), file.size()).find(pattern, from);
  EXPECT_NE(at, std::string_view::npos) << pattern;
  return at;
}

void put_big_endian(Bytes& file, std::size_t at, std::uint32_t value, int bytes = 4) {
  for (int i = 0; i < bytes; ++i)
    file.at(at + static_cast<std::size_t>(i)) = static_cast<unsigned char>(value >> 8 * (bytes - 1 - i));
}

// --- PNG by hand.
Bytes chunk(std::string_view type, const Bytes& data) {
  Bytes out(8);
  put_big_endian(out, 0, static_cast<std::uint32_t>(data.size()));
  std::copy(type.begin(), type.end(), out.begin() + 4);
  out.insert(out.end(), data.begin(), data.end());
  const auto checksum = crc32(0, out.data() + 4, static_cast<unsigned>(out.size() - 4));
  out.resize(out.size() + 4);
  put_big_endian(out, out.size() - 4, static_cast<std::uint32_t>(checksum));
  return out;
}

Bytes deflated(const Bytes& data) {
  Bytes out(compressBound(data.size()));
  uLongf size = out.size();
  EXPECT_EQ(compress(out.data(), &size, data.data(), data.size()), Z_OK);
  out.resize(size);
  return out;
}

Bytes header(std::uint32_t width, std::uint32_t height, unsigned char bits, unsigned char color,
             unsigned char interlace = 0) {
  Bytes data(13);
  put_big_endian(data, 0, width);
  put_big_endian(data, 4, height);
  data[8] = bits, data[9] = color, data[12] = interlace;
  return chunk("IHDR", data);
}

Bytes png_of(const std::vector<Bytes>& chunks) {
  Bytes file = bytes_of("\x89PNG\r\n\x1a\n");
  for (const auto& part : chunks) file.insert(file.end(), part.begin(), part.end());
  return file;
}

// Rows of zeros for a grey 8-bit picture, each with filter type `filter`.
Bytes gray_rows(std::size_t width, std::size_t height, unsigned char filter = 0) {
  Bytes rows((width + 1) * height);
  for (std::size_t y = 0; y < height; ++y) rows[y * (width + 1)] = filter;
  return rows;
}

Bytes gray_png(std::uint32_t width, std::uint32_t height, const Bytes& data,
               const std::vector<Bytes>& before_data = {}) {
  std::vector<Bytes> chunks = {header(width, height, 8, 0)};
  chunks.insert(chunks.end(), before_data.begin(), before_data.end());
  chunks.push_back(chunk("IDAT", data));
  chunks.push_back(chunk("IEND", {}));
  return png_of(chunks);
}

TEST(DamagedPicture, TheHelpersMakeSoundFiles) {
  EXPECT_EQ(refusal(gray_png(4, 3, deflated(gray_rows(4, 3)))), "decoded to 4 x 3");
  EXPECT_EQ(refusal(jpeg()), "decoded to 301 x 219");
  EXPECT_EQ(refusal(png()), "decoded to 250 x 179");
  EXPECT_EQ(refusal(webp()), "decoded to 45 x 37");
}

TEST(DamagedPicture, CutAtEveryKilobyteAndNearBothEnds) {
  const std::pair<const char*, Bytes> files[] = {
      {"baseline", jpeg()},
      {"progressive", golden_file("images", "progressive")},
      {"cmyk", golden_file("images", "cmyk")},
      {"gray", golden_file("images", "gray")},
      {"rgba", golden_file("images", "rgba")},
      {"palette", png()},
      {"interlaced", golden_file("pictures", "png_rgba_interlaced")},
      {"webp lossless", webp()},
      {"webp lossy", golden_file("pictures", "webp_lossy")},
      {"webp alpha", golden_file("pictures", "webp_lossy_alpha")},
      {"webp animated", golden_file("pictures", "webp_animated")},
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

TEST(DamagedPicture, NoPictureAtAll) {
  EXPECT_THAT(refusal({}), HasSubstr("got 0 bytes"));
  EXPECT_THAT(refusal(bytes_of("<!DOCTYPE html><html><body>404</body></html>")), HasSubstr("text with mark-up"));
  EXPECT_THAT(refusal(bytes_of("\n <?xml version='1.0'?><svg/>")), HasSubstr("text with mark-up"));
  EXPECT_THAT(refusal(bytes_of("GIF89a\1\0\1\0")),
              AllOf(HasSubstr("got GIF,"), HasSubstr("expected JPEG, PNG or WebP")));
  EXPECT_THAT(refusal(bytes_of("BM\1\2\3\4")), HasSubstr("got BMP,"));
  EXPECT_THAT(refusal(Bytes{'I', 'I', '*', 0, 8, 0, 0, 0}), HasSubstr("got TIFF,"));
  EXPECT_THAT(refusal(Bytes{0, 0, 0, 28, 'f', 't', 'y', 'p', 'a', 'v', 'i', 'f'}), HasSubstr("got AVIF,"));
  EXPECT_THAT(refusal(Bytes{'R', 'I', 'F', 'F', 4, 0, 0, 0, 'W', 'A', 'V', 'E'}),
              HasSubstr("bytes that start with 52 49 46 46"));
  EXPECT_THAT(refusal(bytes_of("{\"error\": 404}")), HasSubstr("7b 22 65"));
  EXPECT_THAT(refusal(Bytes(5000, 0)), HasSubstr("00 00 00 00"));
  EXPECT_THAT(refusal(Bytes(1, 0xff)), HasSubstr("start with ff"));
}

TEST(DamagedPicture, JpegData) {
  const Bytes whole = jpeg();
  const std::size_t scan = find(whole, "\xff\xda");
  Bytes zeroed = whole;  // a hole, as lost disk blocks leave it
  std::fill(zeroed.begin() + static_cast<std::ptrdiff_t>(scan + 2000),
            zeroed.begin() + static_cast<std::ptrdiff_t>(scan + 6000), 0);
  EXPECT_THAT(refusal(zeroed), HasSubstr("JPEG cut or damaged"));

  Bytes early_end = whole;  // the end marker in the middle: libjpeg would fill with grey
  early_end[scan + 3000] = 0xff, early_end[scan + 3001] = 0xd9;
  EXPECT_THAT(refusal(early_end), AllOf(HasSubstr("JPEG cut or damaged, 14241 bytes"), HasSubstr("premature end")));

  Bytes missing(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(scan + 3000));  // a piece taken out
  missing.insert(missing.end(), whole.begin() + static_cast<std::ptrdiff_t>(scan + 4500), whole.end());
  EXPECT_THAT(refusal(missing), HasSubstr("JPEG cut or damaged"));

  Bytes no_tables = whole;
  no_tables[find(whole, "\xff\xdb") + 1] = 0xee;  // a quantization table turned into an application segment
  EXPECT_THAT(refusal(no_tables), HasSubstr("Quantization table 0x00 was not defined"));

  Bytes tables_only(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(scan));
  tables_only.push_back(0xff), tables_only.push_back(0xd9);
  EXPECT_THAT(refusal(tables_only), HasSubstr("JPEG header"));
}

TEST(DamagedPicture, JpegHeader) {
  const Bytes whole = jpeg();
  const std::size_t frame = find(whole, "\xff\xc0");
  const auto changed = [&](std::size_t at, std::uint32_t value, int bytes) {
    Bytes file = whole;
    put_big_endian(file, frame + at, value, bytes);
    return refusal(file);
  };
  EXPECT_THAT(changed(5, 0xffffffff, 4), AllOf(HasSubstr("JPEG header"), HasSubstr("65500")));  // 65535 x 65535
  EXPECT_THAT(changed(5, 65500u << 16 | 65500u, 4), AllOf(HasSubstr("65500 x 65500"), HasSubstr("at most 67108864")));
  EXPECT_THAT(changed(7, 0, 2), HasSubstr("JPEG header"));     // width 0
  EXPECT_THAT(changed(4, 12, 1), HasSubstr("precision 12"));   // 12 bits
  EXPECT_THAT(changed(9, 7, 1), HasSubstr("JPEG header"));     // seven components
  EXPECT_THAT(changed(1, 0xcb, 1), HasSubstr("Unsupported"));  // another coding process: lossless arithmetic
  Bytes sideways = whole;
  std::swap(sideways[0], sideways[1]);
  EXPECT_THAT(refusal(sideways), HasSubstr("start with d8 ff"));
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
  for (int i = 0; i < number; ++i) at = find(file, "\xff\xda", at + 1);
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

TEST(DamagedPicture, PngStructure) {
  const Bytes rows = deflated(gray_rows(4, 3));
  const Bytes end = chunk("IEND", {}), data = chunk("IDAT", rows);
  EXPECT_THAT(refusal(png_of({})), HasSubstr("PNG cut: the file ends at byte 8"));
  EXPECT_THAT(refusal(png_of({end})), HasSubstr("PNG damaged"));
  EXPECT_THAT(refusal(png_of({header(4, 3, 8, 0), data})), HasSubstr("expected an IEND chunk"));
  EXPECT_THAT(refusal(png_of({header(4, 3, 8, 0), end})), HasSubstr("PNG damaged"));
  EXPECT_THAT(refusal(png_of({data, header(4, 3, 8, 0), end})), HasSubstr("PNG damaged"));
  EXPECT_THAT(refusal(png_of({header(4, 3, 8, 3), data, end})), HasSubstr("PNG damaged"));  // no palette
  EXPECT_THAT(refusal(png_of({header(4, 3, 7, 0), data, end})), HasSubstr("bit depth"));
  EXPECT_THAT(refusal(png_of({header(4, 3, 8, 5), data, end})), HasSubstr("color type"));
  EXPECT_THAT(refusal(png_of({header(4, 3, 8, 0, 2), data, end})), HasSubstr("interlace"));
  EXPECT_THAT(refusal(png_of({header(4, 3, 8, 0), chunk("ABCD", {}), data, end})), HasSubstr("unknown critical chunk"));
  Bytes huge = chunk("IDAT", rows);  // a chunk that claims a gigabyte
  put_big_endian(huge, 0, 1u << 30);
  EXPECT_THAT(refusal(png_of({header(4, 3, 8, 0), huge, end})), HasSubstr("inside the chunk at byte 33"));
  Bytes text = chunk("zTXt", {});  // and one that carries no pixel
  put_big_endian(text, 0, 0xffffffff);
  EXPECT_THAT(refusal(png_of({header(4, 3, 8, 0), text, data, end})), HasSubstr("PNG cut"));
}

TEST(DamagedPicture, PngData) {
  const Bytes rows = deflated(gray_rows(4, 3));
  EXPECT_THAT(refusal(gray_png(4, 4, rows)), HasSubstr("PNG damaged"));  // a row too few
  EXPECT_THAT(refusal(gray_png(4, 3, {})), HasSubstr("PNG damaged"));
  EXPECT_THAT(refusal(gray_png(4, 3, Bytes(20, 0xaa))), HasSubstr("IDAT stream error"));
  EXPECT_THAT(refusal(gray_png(4, 3, deflated(gray_rows(4, 3, 9)))), HasSubstr("filter"));
  Bytes flipped = gray_png(4, 3, rows);
  flipped[find(flipped, "IDAT") + 4 + rows.size()] ^= 1;  // checksum
  EXPECT_THAT(refusal(flipped), HasSubstr("wrong checksum of the chunk"));
  flipped = gray_png(4, 3, rows);
  flipped[find(flipped, "IHDR") + 15] ^= 1;
  EXPECT_THAT(refusal(flipped), HasSubstr("wrong checksum of the chunk"));
  flipped = png();
  flipped[find(flipped, "PLTE") + 9] ^= 1;
  EXPECT_THAT(refusal(flipped), HasSubstr("wrong checksum of the chunk"));
  Bytes wrong_sum = rows;
  wrong_sum.back() ^= 1;  // the checksum inside of the deflate stream
  EXPECT_THAT(refusal(gray_png(4, 3, wrong_sum)), HasSubstr("PNG damaged"));
  Bytes beyond = gray_rows(4, 3);
  beyond[2] = 5;  // of a palette with two colours
  for (const char* alpha : {"white", "drop"}) {
    DecodeConfig config;
    config.alpha = alpha;
    EXPECT_THAT(refusal(png_of({header(4, 3, 8, 3), chunk("PLTE", Bytes(6, 9)), chunk("IDAT", deflated(beyond)),
                                chunk("IEND", {})}),
                        config),
                HasSubstr("palette"));
  }
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
  Bytes jpeg_square = jpeg();
  const auto frame = find(jpeg_square, "\xff\xc0");
  put_big_endian(jpeg_square, frame + 5, 20000u << 16 | 20000u, 4);
  std::fill(jpeg_square.begin() + static_cast<std::ptrdiff_t>(find(jpeg_square, "\xff\xda") + 14), jpeg_square.end(),
            0);
  EXPECT_THAT(refusal(jpeg_square), HasSubstr("20000 x 20000"));

  DecodeConfig small;
  small.max_pixels = 301 * 219;
  EXPECT_EQ(refusal(jpeg(), small), "decoded to 301 x 219");
  small.max_pixels -= 1;
  EXPECT_THAT(refusal(jpeg(), small), HasSubstr("at most 65918"));
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
    const Bytes whole = golden_file("images", name);
    EXPECT_FALSE(refused(whole)) << name;
    for (std::size_t at = 0; at + 2 < whole.size(); at += 257) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(at));
      ASSERT_TRUE(refused(cut)) << name << " cut at " << at << " of " << whole.size();
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
  Bytes claim = jpeg();  // 14 KB that announce 8000 x 8000 pixels, which is admitted
  put_big_endian(claim, find(claim, "\xff\xc0") + 5, 8000u << 16 | 8000u, 4);
  Bytes progressive = golden_file("images", "progressive");
  put_big_endian(progressive, find(progressive, "\xff\xc2") + 5, 8000u << 16 | 8000u, 4);
  const Bytes packed = a_packed_gigabyte();
  Bytes comment = bytes_of(std::string_view("Comment\0\0", 9)), profile = bytes_of(std::string_view("icc\0\0", 5));
  for (auto* data : {&comment, &profile}) data->insert(data->end(), packed.begin(), packed.end());
  const Bytes rows = deflated(gray_rows(4, 3));
  const Bytes comment_bomb = gray_png(4, 3, rows, {chunk("zTXt", comment)});
  const Bytes profile_bomb = gray_png(4, 3, rows, {chunk("iCCP", profile)});
  const long before = forget_peak_kb();
  EXPECT_THAT(refusal(claim), AllOf(HasSubstr("JPEG cut or damaged: got 14241 bytes"), HasSubstr("8000 x 8000")));
  EXPECT_THAT(refusal(progressive), HasSubstr("JPEG cut or damaged: got 17505 bytes, expected at least 3"));
  EXPECT_EQ(refusal(comment_bomb), "decoded to 4 x 3");
  EXPECT_EQ(refusal(profile_bomb), "decoded to 4 x 3");
  EXPECT_LE(peak_kb() - before, 32 << 10);
  // They are never unpacked: what cannot be unpacked is no damage.
  for (const auto* type : {"zTXt", "iCCP"}) {
    const auto no_stream = chunk(type, bytes_of(std::string_view("name\0\0no deflate stream", 23)));
    EXPECT_EQ(refusal(gray_png(4, 3, rows, {no_stream})), "decoded to 4 x 3") << type;
  }
}

TEST(DamagedPicture, WebpData) {
  Bytes file = webp();
  const auto changed = [&](std::size_t at, unsigned char value) {
    Bytes copy = file;
    copy.at(at) = value;
    return refusal(copy);
  };
  EXPECT_THAT(changed(7, 1), AllOf(HasSubstr("WebP cut"), HasSubstr("expected 167")));  // announces 16 MiB more
  EXPECT_THAT(changed(12, 'X'), HasSubstr("WebP"));                                     // no picture chunk
  EXPECT_THAT(changed(20, 0), HasSubstr("WebP"));  // no signature of the lossless form
  file = golden_file("pictures", "webp_animated");
  Bytes canvas = file;  // VP8X: canvas - 1 in 24 bits
  for (std::size_t i = 24; i < 30; ++i) canvas.at(i) = 0xff;
  EXPECT_THAT(refusal(canvas), HasSubstr("WebP"));
  canvas = file;
  for (std::size_t i = 24; i < 30; ++i) canvas.at(i) = i % 3 == 2 ? 0 : 0x3f;  // 16192 x 16192
  EXPECT_THAT(refusal(canvas), HasSubstr("16192 x 16192"));
  canvas = file;
  canvas.at(24) = 3;  // smaller than its frame
  EXPECT_THAT(refusal(canvas), HasSubstr("WebP"));
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
