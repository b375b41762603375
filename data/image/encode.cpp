// libjpeg reports errors by a call that must not return: it longjmps out of compress(), which holds nothing with a
// destructor.
#include "data/image/encode.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include <jpeglib.h>
#include <spng.h>

#include "core/base/errors.h"
#include "data/image/jpeg_errors.h"

namespace triptych {
namespace {

class JpegWriter {
 public:
  JpegWriter() {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = escape_jpeg_error;
  }
  ~JpegWriter() {
    jpeg_destroy_compress(&info_);
    std::free(bytes_);
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;

  /// Guarded: false = message() says why. Nothing with a destructor inside.
  bool compress(const std::uint8_t* rgb, int width, int height, int quality) {
    if (setjmp(errors_.escape)) return false;
    jpeg_create_compress(&info_);
    jpeg_mem_dest(&info_, &bytes_, &size_);
    info_.image_width = static_cast<JDIMENSION>(width);
    info_.image_height = static_cast<JDIMENSION>(height);
    info_.input_components = 3;
    info_.in_color_space = JCS_RGB;
    jpeg_set_defaults(&info_);
    jpeg_set_quality(&info_, quality, TRUE);
    info_.dct_method = JDCT_ISLOW;
    jpeg_start_compress(&info_, TRUE);
    const std::size_t stride = static_cast<std::size_t>(width) * 3;
    while (info_.next_scanline < info_.image_height) {
      JSAMPROW row = const_cast<std::uint8_t*>(rgb) + info_.next_scanline * stride;
      jpeg_write_scanlines(&info_, &row, 1);
    }
    jpeg_finish_compress(&info_);
    return true;
  }
  const char* message() const { return errors_.message; }
  std::vector<unsigned char> bytes() const { return {bytes_, bytes_ + size_}; }

 private:
  jpeg_compress_struct info_{};
  JpegErrors errors_{};
  unsigned char* bytes_ = nullptr;
  unsigned long size_ = 0;
};

void check(int status) {
  if (status != 0) throw DataError(std::string("PNG cannot be written: ") + spng_strerror(status));
}

}  // namespace

std::vector<unsigned char> encode_jpeg(const Image& image, int quality) {
  if (quality < 1 || quality > 100) throw std::invalid_argument("JPEG quality must be 1 to 100");
  JpegWriter writer;
  if (!writer.compress(image.rgb.data(), image.width, image.height, quality)) {
    throw DataError(std::string("JPEG cannot be written: ") + writer.message());
  }
  return writer.bytes();
}

std::vector<unsigned char> encode_png(const Image& image) {
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(SPNG_CTX_ENCODER), spng_ctx_free);
  if (!context) throw std::bad_alloc();
  spng_ihdr header{};
  header.width = static_cast<std::uint32_t>(image.width);
  header.height = static_cast<std::uint32_t>(image.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  check(spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1));
  check(spng_set_ihdr(context.get(), &header));
  check(spng_encode_image(context.get(), image.rgb.data(), image.rgb.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE));
  std::size_t size = 0;
  int status = 0;
  const std::unique_ptr<void, decltype(&std::free)> bytes(spng_get_png_buffer(context.get(), &size, &status),
                                                          std::free);
  check(status);
  const auto* begin = static_cast<const unsigned char*>(bytes.get());
  return {begin, begin + size};
}

}  // namespace triptych
