// Operations on the colours of a picture, with the bytes of Pillow's ImageEnhance, which torchvision and timm call.
//
// "Enhancing" by a factor is in + (factor - 1) * (in - plain): 0 gives a plain picture, 1 the picture itself, more than
// 1 goes beyond it. Results are cut off towards zero and clipped.
#pragma once
#include "data/image/pixels.h"

namespace triptych {

/// Luma of ITU-R 601 in fixed point: (19595 R + 38470 G + 7471 B + 2^15) >> 16.
std::uint8_t luma(const std::uint8_t* rgb);

/// All three channels become the luma.
void grayscale(Pixels pixels);

/// Plain picture: black.
void adjust_brightness(Pixels pixels, float factor);
/// Plain picture: one grey, the rounded mean of the luma.
void adjust_contrast(Pixels pixels, float factor);
/// Plain picture: the luma of each pixel.
void adjust_saturation(Pixels pixels, float factor);
/// Plain picture: smoothed by a 3 x 3 window of weight 1 with 5 in the middle; the outermost pixels stay.
void adjust_sharpness(Pixels pixels, float factor);
/// Turns the hue by a share of the circle in [-0.5, 0.5], in HSV of 8 bits a channel.
void adjust_hue(Pixels pixels, double turn);

}  // namespace triptych
