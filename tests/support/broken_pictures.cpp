// The table of broken pictures.
#include "tests/support/broken_pictures.h"

#include <ostream>

#include "tests/support/picture_bytes.h"

namespace triptych {
namespace {

using Pictures = std::vector<BrokenPicture>;

Pictures no_pictures() {
  return {
      {"html", bytes_of("<!DOCTYPE html><html><body>404</body></html>"), "text with mark-up"},
      {"svg", bytes_of("\n <?xml version='1.0'?><svg/>"), "text with mark-up"},
      {"gif", bytes_of("GIF89a\1\0\1\0"), "got GIF,|expected JPEG, PNG or WebP"},
      {"bmp", bytes_of("BM\1\2\3\4"), "got BMP,"},
      {"tiff", {'I', 'I', '*', 0, 8, 0, 0, 0}, "got TIFF,"},
      {"avif", {0, 0, 0, 28, 'f', 't', 'y', 'p', 'a', 'v', 'i', 'f'}, "got AVIF,"},
      {"wave", {'R', 'I', 'F', 'F', 4, 0, 0, 0, 'W', 'A', 'V', 'E'}, "bytes that start with 52 49 46 46"},
      {"json", bytes_of("{\"error\": 404}"), "7b 22 65"},
      {"zeros", Bytes(5000, 0), "00 00 00 00"},
      {"one_byte", Bytes(1, 0xff), "start with ff"},
  };
}

Bytes cut(Bytes file) {
  file.resize(file.size() * 2 / 3);
  return file;
}

Pictures cut_pictures() {
  return {
      {"jpeg_cut", cut(sound_jpeg()), "JPEG cut or damaged"},
      {"progressive_jpeg_cut", cut(golden_picture("images", "progressive")), "JPEG cut or damaged"},
      {"png_cut", cut(sound_png()), "PNG cut"},
      {"interlaced_png_cut", cut(golden_picture("pictures", "png_rgba_interlaced")), "PNG cut"},
      {"webp_cut", cut(sound_webp()), "WebP cut"},
      {"lossy_webp_cut", cut(golden_picture("pictures", "webp_lossy")), "WebP cut"},
  };
}

Pictures jpeg_data() {
  const Bytes whole = sound_jpeg();
  const std::size_t scan = offset_of(whole, "\xff\xda");
  const auto at = [&](std::size_t offset) { return whole.begin() + static_cast<std::ptrdiff_t>(scan + offset); };
  Bytes zeroed = whole;  // a hole, as lost disk blocks leave it
  std::fill_n(zeroed.begin() + (at(2000) - whole.begin()), 4000, 0);
  Bytes early_end = whole;  // the end marker in the middle: libjpeg would fill with grey
  early_end[scan + 3000] = 0xff, early_end[scan + 3001] = 0xd9;
  Bytes missing(whole.begin(), at(3000));  // a piece taken out
  missing.insert(missing.end(), at(4500), whole.end());
  Bytes no_tables = whole;  // a quantization table turned into an application segment
  no_tables[offset_of(whole, "\xff\xdb") + 1] = 0xee;
  Bytes tables_only(whole.begin(), at(0));
  tables_only.push_back(0xff), tables_only.push_back(0xd9);
  return {
      {"jpeg_with_a_hole", zeroed, "JPEG cut or damaged"},
      {"jpeg_that_ends_early", early_end, "JPEG cut or damaged, 14241 bytes|premature end"},
      {"jpeg_with_a_piece_missing", missing, "JPEG cut or damaged"},
      {"jpeg_without_a_table", no_tables, "Quantization table 0x00 was not defined"},
      {"jpeg_without_a_scan", tables_only, "JPEG header"},
  };
}

Pictures jpeg_headers() {
  const Bytes whole = sound_jpeg();
  const std::size_t frame = offset_of(whole, "\xff\xc0");
  const auto changed = [&](std::size_t at, std::uint32_t value, int bytes) {
    Bytes file = whole;
    put_big_endian(file, frame + at, value, bytes);
    return file;
  };
  Bytes sideways = whole;
  std::swap(sideways[0], sideways[1]);
  return {
      {"jpeg_of_65535_x_65535", changed(5, 0xffffffff, 4), "JPEG header|65500"},
      {"jpeg_of_65500_x_65500", changed(5, 65500u << 16 | 65500u, 4), "65500 x 65500|at most 67108864"},
      {"jpeg_of_8000_x_8000", changed(5, 8000u << 16 | 8000u, 4), "JPEG cut or damaged: got 14241 bytes|8000 x 8000"},
      {"jpeg_of_no_width", changed(7, 0, 2), "JPEG header"},
      {"jpeg_of_12_bits", changed(4, 12, 1), "precision 12"},
      {"jpeg_of_seven_components", changed(9, 7, 1), "JPEG header"},
      {"jpeg_of_another_process", changed(1, 0xcb, 1), "Unsupported"},  // lossless arithmetic
      {"jpeg_with_swapped_bytes", sideways, "start with d8 ff"},
  };
}

Pictures png_structures() {
  const Bytes rows = deflated(gray_rows(4, 3)), end = png_chunk("IEND", {}), data = png_chunk("IDAT", rows);
  const auto of = [&](unsigned char bits, unsigned char color, unsigned char interlace = 0) {
    return png_of({png_header(4, 3, bits, color, interlace), data, end});
  };
  const Bytes first = png_header(4, 3, 8, 0);
  Bytes huge = data;  // a chunk that claims a gigabyte
  put_big_endian(huge, 0, 1u << 30);
  Bytes text = png_chunk("zTXt", {});  // and one that carries no pixel
  put_big_endian(text, 0, 0xffffffff);
  return {
      {"png_signature", png_of({}), "PNG cut: the file ends at byte 8"},
      {"png_of_an_end", png_of({end}), "PNG damaged"},
      {"png_without_an_end", png_of({first, data}), "expected an IEND chunk"},
      {"png_without_data", png_of({first, end}), "PNG damaged"},
      {"png_with_data_in_front", png_of({data, first, end}), "PNG damaged"},
      {"png_without_a_palette", of(8, 3), "PNG damaged"},
      {"png_of_7_bits", of(7, 0), "bit depth"},
      {"png_of_color_type_5", of(8, 5), "color type"},
      {"png_of_interlace_2", of(8, 0, 2), "interlace"},
      {"png_with_an_unknown_chunk", png_of({first, png_chunk("ABCD", {}), data, end}), "unknown critical chunk"},
      {"png_with_a_chunk_of_1_GiB", png_of({first, huge, end}), "inside the chunk at byte 33"},
      {"png_with_a_text_of_4_GiB", png_of({first, text, data, end}), "PNG cut"},
  };
}

Pictures png_data() {
  const Bytes rows = deflated(gray_rows(4, 3)), whole = gray_png(4, 3, rows);
  const auto flipped = [](Bytes file, std::size_t at) {
    file.at(at) ^= 1;
    return file;
  };
  return {
      {"png_with_a_row_too_few", gray_png(4, 4, rows), "PNG damaged"},
      {"png_of_no_bytes", gray_png(4, 3, {}), "PNG damaged"},
      {"png_that_is_not_deflated", gray_png(4, 3, Bytes(20, 0xaa)), "IDAT stream error"},
      {"png_of_filter_9", gray_png(4, 3, deflated(gray_rows(4, 3, 9))), "filter"},
      {"png_checksum_of_the_data", flipped(whole, offset_of(whole, "IDAT") + 4 + rows.size()),
       "wrong checksum of the chunk"},
      {"png_checksum_of_the_header", flipped(whole, offset_of(whole, "IHDR") + 15), "wrong checksum of the chunk"},
      {"png_checksum_of_the_palette", flipped(sound_png(), offset_of(sound_png(), "PLTE") + 9),
       "wrong checksum of the chunk"},
      {"png_checksum_of_the_stream", gray_png(4, 3, flipped(rows, rows.size() - 1)), "PNG damaged"},
      {"png_beyond_the_palette", palette_png(5), "palette"},
  };
}

Pictures png_bombs() {
  return {
      {"png_of_20000_x_20000", gray_png(20000, 20000, deflated(Bytes(1 << 20))),
       "20000 x 20000|data.decode.max_pixels"},
      {"png_of_70000_x_1", gray_png(70000, 1, deflated(gray_rows(70000, 1))), "sides of at most 65500"},
      {"png_of_8000_x_8000", gray_png(8000, 8000, deflated(gray_rows(8, 8))), "expected at least 62015"},
      {"png_of_the_widest", gray_png(0x7fffffff, 0x7fffffff, deflated(gray_rows(8, 8))), "2147483647 x 2147483647"},
      {"png_of_no_width", gray_png(0, 3, {}), "PNG header: got 0 x 3 pixels"},
  };
}

Pictures webp_data() {
  const auto changed = [](Bytes file, std::size_t at, unsigned char value) {
    file.at(at) = value;
    return file;
  };
  const Bytes whole = sound_webp(), animated = golden_picture("pictures", "webp_animated");
  Bytes widest = animated, large = animated;  // VP8X: canvas - 1 in 24 bits
  for (std::size_t i = 24; i < 30; ++i) widest.at(i) = 0xff;
  for (std::size_t i = 24; i < 30; ++i) large.at(i) = i % 3 == 2 ? 0 : 0x3f;
  return {
      {"webp_of_16_MiB_more", changed(whole, 7, 1), "WebP cut|expected 167"},
      {"webp_without_a_picture", changed(whole, 12, 'X'), "WebP"},
      {"webp_without_a_signature", changed(whole, 20, 0), "WebP"},
      {"webp_of_the_widest", widest, "WebP"},
      {"webp_of_16192_x_16192", large, "16192 x 16192"},
      {"webp_smaller_than_its_frame", changed(animated, 24, 3), "WebP"},
  };
}

}  // namespace

void PrintTo(const BrokenPicture& picture, std::ostream* out) {
  *out << picture.name;
}

std::vector<BrokenPicture> broken_pictures() {
  Pictures all;
  for (const auto part :
       {no_pictures, cut_pictures, jpeg_data, jpeg_headers, png_structures, png_data, png_bombs, webp_data}) {
    for (auto& picture : part()) all.push_back(std::move(picture));
  }
  return all;
}

}  // namespace triptych
