// How libjpeg's fatal errors come back to us: by longjmp, with their message.
#pragma once
#include <jpeglib.h>

#include <csetjmp>

namespace triptych {

struct JpegErrors {
  jpeg_error_mgr base;  // first: libjpeg hands back a pointer to it
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] inline void escape_jpeg_error(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  info->err->format_message(info, errors->message);
  std::longjmp(errors->escape, 1);
}

}  // namespace triptych
