// JPEG by libjpeg-turbo, with its default (accurate) inverse transform and smooth upsampling.
//
// libjpeg reports errors by a call that must not return. It longjmps to the nearest guarded call of JpegReader; these
// calls hold nothing with a destructor, and everything that owns memory lives outside of them.
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <jpeglib.h>

#include <jerror.h>

#include "core/base/errors.h"
#include "data/image/decode_formats.h"
#include "data/image/exif.h"

namespace triptych {
namespace {

constexpr int kMaxScans =
    100;  // real progressive files have about ten; a crafted one costs one pass over the picture each

struct JpegErrors {
  jpeg_error_mgr base;  // first: libjpeg hands back a pointer to it
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->escape, 1);
}

// libjpeg calls these warnings and fills the rest of the picture with grey.
bool means_damage(int code) {
  switch (code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_BOGUS_PROGRESSION:
      return true;
    default:
      return false;
  }
}

void on_message(j_common_ptr info, int level) {
  if (level < 0 && means_damage(info->err->msg_code)) on_error(info);
}

void on_progress(j_common_ptr info) {
  const auto* jpeg = reinterpret_cast<j_decompress_ptr>(info);
  if (jpeg->input_scan_number <= kMaxScans) return;
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  std::snprintf(errors->message, sizeof errors->message, "more than %d scans", kMaxScans);
  std::longjmp(errors->escape, 1);
}

// Inks as Adobe stores them (255 = none) to RGB without a profile: R = K - round((255 - C) * K / 255), K the stored
// value.
void inks_to_rgb(const std::uint8_t* cmyk, int pixels, std::uint8_t* rgb) {
  for (int i = 0; i < pixels; ++i, cmyk += 4, rgb += 3) {
    const unsigned light = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const unsigned product = (255u - cmyk[c]) * light + 128;
      const unsigned ink = (product + (product >> 8)) >> 8;
      rgb[c] = static_cast<std::uint8_t>(ink > light ? 0 : light - ink);
    }
  }
}

class JpegReader {
 public:
  JpegReader() {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = on_error;
    errors_.base.emit_message = on_message;
    progress_.progress_monitor = on_progress;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  // Guarded calls: false = message() says why. Nothing with a destructor inside.
  bool read_header(const unsigned char* bytes, std::size_t size) {
    if (setjmp(errors_.escape)) return false;
    jpeg_create_decompress(&info_);
    info_.progress = &progress_;
    jpeg_mem_src(&info_, bytes, size);
    jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&info_, TRUE);
    info_.out_color_space = has_inks() ? JCS_CMYK : JCS_RGB;
    return true;
  }
  /// `inks` holds a row of four bytes a pixel; used with has_inks() only.
  bool read_rows(std::uint8_t* rgb, std::uint8_t* inks) {
    if (setjmp(errors_.escape)) return false;
    jpeg_start_decompress(&info_);
    const std::size_t stride = static_cast<std::size_t>(info_.output_width) * 3;
    while (info_.output_scanline < info_.output_height) {
      std::uint8_t* const row = rgb + info_.output_scanline * stride;
      if (has_inks()) {
        jpeg_read_scanlines(&info_, &inks, 1);
        inks_to_rgb(inks, static_cast<int>(info_.output_width), row);
        continue;
      }
      JSAMPROW rows[kRowsAtOnce];
      const JDIMENSION left = info_.output_height - info_.output_scanline;
      const JDIMENSION count = left < kRowsAtOnce ? left : kRowsAtOnce;
      for (JDIMENSION i = 0; i < count; ++i) rows[i] = row + i * stride;
      jpeg_read_scanlines(&info_, rows, count);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  bool has_inks() const { return info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK; }
  JDIMENSION width() const { return info_.image_width; }
  JDIMENSION height() const { return info_.image_height; }
  const char* message() const { return errors_.message; }
  /// 1 .. 8 by the first EXIF segment; 1 where there is none.
  int orientation() const {
    for (auto* marker = info_.marker_list; marker; marker = marker->next) {
      const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
      if (data.starts_with(std::string_view("Exif\0", 6))) return exif_orientation(data.substr(6));
    }
    return 1;
  }

 private:
  static constexpr JDIMENSION kRowsAtOnce = 8;
  jpeg_decompress_struct info_{};
  jpeg_progress_mgr progress_{};
  JpegErrors errors_{};
};

}  // namespace

Image decode_jpeg(std::span<const unsigned char> file, const DecodeConfig& config) {
  JpegReader reader;
  if (!reader.read_header(file.data(), file.size())) throw DataError(std::string("JPEG header: ") + reader.message());
  check_picture_size("JPEG", reader.width(), reader.height(), config);
  const int orientation = config.exif == "apply" ? reader.orientation() : 1;  // libjpeg drops the tag when it is done
  Image image = make_image(static_cast<int>(reader.width()), static_cast<int>(reader.height()));
  std::vector<std::uint8_t> inks(reader.has_inks() ? std::size_t{4} * reader.width() : 0);
  if (!reader.read_rows(image.rgb.data(), inks.data()))
    throw DataError("JPEG cut or damaged, " + std::to_string(file.size()) + " bytes: " + reader.message());
  return upright(std::move(image), orientation);
}

}  // namespace triptych
