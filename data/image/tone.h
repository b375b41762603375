// Operations that send each value of a channel to another one, with the bytes of Pillow's ImageOps.
#pragma once
#include "data/image/pixels.h"

namespace triptych {

/// Each channel is stretched so that its least value becomes 0 and its largest 255; a channel of one value stays.
void auto_contrast(Pixels pixels);
/// The same as TCL's code does it: it negates the least value as an unsigned byte, so a channel whose least value is
/// not 0 becomes white.
void auto_contrast_wrapping(Pixels pixels);
/// Each channel's histogram is made even; channels of too few different values stay.
void equalize(Pixels pixels);
/// v -> 255 - v.
void invert(Pixels pixels);
/// Values of at least `threshold` (0 .. 256) are inverted.
void solarize(Pixels pixels, int threshold);
/// Values below 128 grow by `amount`, at most to 255.
void solarize_add(Pixels pixels, int amount);
/// Keeps the highest `bits` (0 .. 8) of each value.
void posterize(Pixels pixels, int bits);

}  // namespace triptych
