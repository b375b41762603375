// JPEG by libjpeg-turbo, with its default (accurate) inverse transform and smooth upsampling.
//
// libjpeg reports errors by a call that must not return. It longjmps to the nearest guarded call of JpegReader; these
// calls hold nothing with a destructor, and everything that owns memory lives outside of them.
#include <algorithm>
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
#include "data/image/jpeg_errors.h"

namespace triptych {
namespace {

constexpr int kMaxScans =
    100;  // real progressive files have about ten; a crafted one costs one pass over the picture each

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

// Some writers pad the data of a picture: by the end marker all of it was decoded, so a few bytes before that marker
// are no part of it.
bool is_padding(const jpeg_error_mgr& errors) {
  constexpr int kMostPadding = 64;
  if (errors.msg_code != JWRN_EXTRANEOUS_DATA) return false;
  const int skipped = errors.msg_parm.i[0], marker = errors.msg_parm.i[1];
  return marker == JPEG_EOI && skipped <= kMostPadding;
}

void on_message(j_common_ptr info, int level) {
  if (level < 0 && means_damage(info->err->msg_code) && !is_padding(*info->err)) escape_jpeg_error(info);
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
    errors_.base.error_exit = escape_jpeg_error;
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
  /// Starts decoding at 1/denominator of the size and moves `part` (of the reduced picture) outwards to columns that
  /// can be decoded alone.
  bool start(int denominator, Box& part) {
    if (setjmp(errors_.escape)) return false;
    info_.scale_num = 1;
    info_.scale_denom = static_cast<unsigned>(denominator);
    jpeg_start_decompress(&info_);
    const auto margin = static_cast<int>(kMarginBlocks * info_.max_h_samp_factor * DCTSIZE) / denominator;
    const int first = std::max(part.x - margin, 0);
    const int last = std::min(part.x + part.width + margin, static_cast<int>(info_.output_width));
    if (last - first < static_cast<int>(info_.output_width)) {
      auto left = static_cast<JDIMENSION>(first), width = static_cast<JDIMENSION>(last - first);
      jpeg_crop_scanline(&info_, &left, &width);
      part.x = static_cast<int>(left);
    } else {
      part.x = 0;
    }
    part.width = static_cast<int>(info_.output_width);
    return true;
  }
  /// Reads the rows of `part` to rgb[part.height][part.width][3]. `row` has room for four bytes a pixel of a row.
  bool read_rows(const Box& part, std::uint8_t* rgb, std::uint8_t* row) {
    if (setjmp(errors_.escape)) return false;
    const std::size_t stride = static_cast<std::size_t>(info_.output_width) * 3;
    const auto first = static_cast<JDIMENSION>(part.y), end = first + static_cast<JDIMENSION>(part.height);
    if (first > 0) jpeg_skip_scanlines(&info_, first);
    while (info_.output_scanline < end) {
      std::uint8_t* const to = rgb + (info_.output_scanline - first) * stride;
      if (has_inks()) {
        jpeg_read_scanlines(&info_, &row, 1);
        inks_to_rgb(row, static_cast<int>(info_.output_width), to);
        continue;
      }
      JSAMPROW rows[kRowsAtOnce];
      const JDIMENSION left = end - info_.output_scanline;
      const JDIMENSION count = left < kRowsAtOnce ? left : kRowsAtOnce;
      for (JDIMENSION i = 0; i < count; ++i) rows[i] = to + i * stride;
      jpeg_read_scanlines(&info_, rows, count);
    }
    // The rest is read, not decoded: damage must be found wherever it is. Skipping to the very end would not read it.
    const JDIMENSION rest = info_.output_height - info_.output_scanline;
    if (rest > 1) jpeg_skip_scanlines(&info_, rest - 1);
    if (rest > 0) jpeg_read_scanlines(&info_, &row, 1);
    jpeg_finish_decompress(&info_);
    return true;
  }

  bool has_inks() const { return info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK; }
  JDIMENSION width() const { return info_.image_width; }
  JDIMENSION height() const { return info_.image_height; }
  /// Bytes that a sound file of this size has at least: a bit for each block of each component. Arithmetic coding has
  /// no such bound.
  std::size_t least_bytes() const {
    if (info_.arith_code) return 0;
    std::size_t blocks = 0;
    for (int c = 0; c < info_.num_components; ++c)
      blocks += static_cast<std::size_t>(info_.comp_info[c].width_in_blocks) * info_.comp_info[c].height_in_blocks;
    return blocks / 8;
  }
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
  static constexpr JDIMENSION kMarginBlocks = 1;  // smooth upsampling looks at the next column of the chroma
  jpeg_decompress_struct info_{};
  jpeg_progress_mgr progress_{};
  JpegErrors errors_{};
};

void check_file_size(const JpegReader& reader, std::size_t size) {
  if (size >= reader.least_bytes()) return;
  throw DataError("JPEG cut or damaged: got " + std::to_string(size) + " bytes, expected at least " +
                  std::to_string(reader.least_bytes()) + " for " + std::to_string(reader.width()) + " x " +
                  std::to_string(reader.height()) + " pixels");
}

// The largest reduction that enlarges no need.
int choose_denominator(const std::vector<PixelNeed>& needs) {
  int denominator = 8;
  for (const auto& need : needs) {
    while (denominator > 1 && (need.region.width < denominator * need.scaled.width ||
                               need.region.height < denominator * need.scaled.height))
      denominator /= 2;
  }
  return denominator;
}

// The smallest box of the reduced picture that covers all needs.
Box part_for(const std::vector<PixelNeed>& needs, int denominator) {
  Box all = needs.front().region;
  for (const auto& need : needs) {
    const int right = std::max(all.x + all.width, need.region.x + need.region.width);
    const int bottom = std::max(all.y + all.height, need.region.y + need.region.height);
    all.x = std::min(all.x, need.region.x);
    all.y = std::min(all.y, need.region.y);
    all.width = right - all.x;
    all.height = bottom - all.y;
  }
  const int left = all.x / denominator, top = all.y / denominator;
  return {left, top, (all.x + all.width + denominator - 1) / denominator - left,
          (all.y + all.height + denominator - 1) / denominator - top};
}

}  // namespace

PicturePart decode_jpeg(std::span<const unsigned char> file, const DecodeConfig& config, const NeedsOf& needs_of) {
  JpegReader reader;
  if (!reader.read_header(file.data(), file.size())) throw DataError(std::string("JPEG header: ") + reader.message());
  check_picture_size("JPEG", reader.width(), reader.height(), config);
  check_file_size(reader, file.size());
  const int orientation = config.exif == "apply" ? reader.orientation() : 1;  // libjpeg drops the tag when it is done
  const Size stored{static_cast<int>(reader.width()), static_cast<int>(reader.height())};
  const bool on_its_side = orientation >= 5;
  const auto needs = needs_of(on_its_side ? Size{stored.height, stored.width} : stored);
  PicturePart part;
  Box covered{0, 0, stored.width, stored.height};
  if (orientation == 1) {
    if (config.scaled) part.denominator = choose_denominator(needs);
    covered = part_for(needs, part.denominator);
  }
  const auto fail = [&] {
    throw DataError("JPEG cut or damaged, " + std::to_string(file.size()) + " bytes: " + reader.message());
  };
  if (!reader.start(part.denominator, covered)) fail();
  part.left = covered.x;
  part.top = covered.y;
  part.image = make_image(covered.width, covered.height);
  std::vector<std::uint8_t> row(std::size_t{4} * static_cast<std::size_t>(covered.width));
  if (!reader.read_rows(covered, part.image.rgb.data(), row.data())) fail();
  part.image = upright(std::move(part.image), orientation);
  return part;
}

}  // namespace triptych
