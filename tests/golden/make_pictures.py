#!/usr/bin/env python3
"""tests/golden/make_pictures.py: writes pictures.safetensors beside itself.

Small encoded pictures of every legal kind with the RGB that each setting of data.decode must give. Expected values come
from Pillow 11.3.0, and from plain arithmetic where Pillow has no 8-bit answer (16-bit PNG: the high byte).
Needs numpy and Pillow 11.3.0. Tensors: NAME.file, NAME.white, NAME.drop (alpha), NAME.apply (EXIF)."""
import io
import json
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20)
tensors = {}


def picture(height, width, channels, bits=8):
    """Smooth shapes and noise, no symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.sin(x / (3 + c) + y / 9) + np.cos(y / (5 - c % 4)) + 0.4 * rng.standard_normal((height, width)) for c in range(channels)]
    values = np.stack(planes, axis=-1)
    values = (values - values.min()) / np.ptp(values)
    return np.minimum(values * 2**bits, 2**bits - 1).astype(np.uint16 if bits == 16 else np.uint8)


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    return {n: np.frombuffer(data[8 + size + e["data_offsets"][0] : 8 + size + e["data_offsets"][1]], e["dtype"].lower().replace("u8", "uint8").replace("i64", "int64")).reshape(e["shape"]) for n, e in header.items() if n != "__metadata__" and n.endswith(".file")}


def write_safetensors(path):
    header, blob = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array, dtype=np.uint8).tobytes()
        header[name] = {"dtype": "U8", "shape": list(array.shape), "data_offsets": [len(blob), len(blob) + len(raw)]}
        blob += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def on_white(image):
    rgba = image.convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB"))


def add(name, encoded, white=None, drop=None):
    """By Pillow, unless both are given."""
    image = Image.open(io.BytesIO(encoded)) if white is None or drop is None else None
    tensors[name + ".file"] = np.frombuffer(encoded, np.uint8)
    tensors[name + ".white"] = on_white(image) if white is None else white
    tensors[name + ".drop"] = np.asarray(image.convert("RGB")) if drop is None else drop
    if name.startswith("jpeg"):
        tensors[name + ".apply"] = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(samples, bits):
    """[h, w, c] to PNG rows: big endian, high bits first, filter 0."""
    rows = []
    for row in samples.reshape(samples.shape[0], -1):
        if bits == 16:
            rows.append(b"\0" + row.astype(">u2").tobytes())
        else:
            ones = ((row[:, None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).reshape(-1)
            rows.append(b"\0" + np.packbits(ones).tobytes())
    return b"".join(rows)


def png(samples, bits, color_type, interlaced=False, extra=b""):
    height, width = samples.shape[:2]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in passes] if interlaced else [samples]
    data = b"".join(packed(p, bits) for p in parts if p.shape[0] and p.shape[1])
    header = struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def rgb_of(gray):
    return np.repeat(gray.reshape(gray.shape[0], gray.shape[1], 1), 3, axis=2)


def blended(rgb, alpha):
    value = rgb.astype(np.int64) * alpha[..., None] + 255 * (255 - alpha[..., None].astype(np.int64))
    return ((2 * value + 255) // 510).astype(np.uint8)  # value / 255, rounded to nearest


# The larger pictures of images.safetensors under the defaults: white, apply.
for name, encoded in read_safetensors(HERE / "images.safetensors").items():
    image = Image.open(io.BytesIO(encoded.tobytes()))
    name = name.removesuffix(".file")
    if name in ("rgba", "palette"):
        tensors["images." + name + ".default"] = on_white(image)
    if name == "progressive":
        tensors["images." + name + ".default"] = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))

# PNG, by Pillow's answer.
noise = picture(19, 23, 4)
add("png_rgb", png(noise[..., :3], 8, 2))
add("png_rgba", png(noise, 8, 6))
add("png_rgba_interlaced", png(noise, 8, 6, interlaced=True))
add("png_rgb_interlaced_3x2", png(noise[:2, :3, :3], 8, 2, interlaced=True))
add("png_gray_alpha", png(noise[..., :2], 8, 4))
add("png_gray", png(noise[..., :1], 8, 0))
add("png_1x1", png(noise[:1, :1, :3], 8, 2))
add("png_gray_1bit", png(noise[..., :1] >> 7, 1, 0))
two_bits, four_bits = noise[..., :1] >> 6, noise[..., :1] >> 4
add("png_gray_2bit", png(two_bits, 2, 0), drop=rgb_of(two_bits * 85), white=rgb_of(two_bits * 85))
add("png_gray_4bit", png(four_bits, 4, 0), drop=rgb_of(four_bits * 17), white=rgb_of(four_bits * 17))
palette = rng.integers(0, 256, (16, 3), dtype=np.uint8)
palette_chunks = chunk(b"PLTE", palette.tobytes())
alphas = rng.integers(0, 256, 11, dtype=np.uint8)
add("png_palette_4bit", png(four_bits, 4, 3, extra=palette_chunks))
add("png_palette_alpha", png(four_bits, 4, 3, extra=palette_chunks + chunk(b"tRNS", alphas.tobytes())))
add("png_palette_alpha_interlaced", png(four_bits, 4, 3, interlaced=True, extra=palette_chunks + chunk(b"tRNS", alphas.tobytes())))
key = noise[4, 5, :3]
is_key = np.all(noise[..., :3] == key, axis=-1)
add("png_rgb_key", png(noise[..., :3], 8, 2, extra=chunk(b"tRNS", key.astype(">u2").tobytes())),
    white=np.where(is_key[..., None], 255, noise[..., :3]))
add("png_gray_key", png(noise[..., :1], 8, 0, extra=chunk(b"tRNS", struct.pack(">H", key[0]))),
    white=np.where(noise[..., :1] == key[0], 255, rgb_of(noise[..., :1])))

# PNG with 16 bits: the high byte.
deep = picture(17, 21, 4, bits=16)
high = (deep >> 8).astype(np.uint8)
add("png16_gray", png(deep[..., :1], 16, 0), drop=rgb_of(high[..., :1]), white=rgb_of(high[..., :1]))
add("png16_rgb", png(deep[..., :3], 16, 2), drop=high[..., :3], white=high[..., :3])
add("png16_rgb_interlaced", png(deep[..., :3], 16, 2, interlaced=True), drop=high[..., :3], white=high[..., :3])
add("png16_rgba", png(deep, 16, 6), drop=high[..., :3], white=blended(high[..., :3], high[..., 3]))
add("png16_gray_alpha", png(deep[..., :2], 16, 4), drop=rgb_of(high[..., :1]), white=blended(rgb_of(high[..., :1]), high[..., 1]))
assert np.array_equal(tensors["png_rgba.white"], blended(noise[..., :3], noise[..., 3]))

# Chunks that carry no pixel are not read: a text of 64 MiB, a damaged profile, a wrong checksum in a comment.
zeros = zlib.compress(bytes(64 << 20), 9)
add("png_text_bomb", png(noise[..., :3], 8, 2, extra=chunk(b"zTXt", b"Comment\0\0" + zeros)), white=noise[..., :3], drop=noise[..., :3])
add("png_profile_bomb", png(noise[..., :3], 8, 2, extra=chunk(b"iCCP", b"name\0\0" + zeros)), white=noise[..., :3], drop=noise[..., :3])
add("png_comment_checksum", png(noise[..., :3], 8, 2, extra=struct.pack(">I", 5) + b"tEXtab\0cd\0\0\0\0"), white=noise[..., :3], drop=noise[..., :3])

# JPEG: eight orientations, subsamplings, grey, CMYK, inside RGB.
colour = Image.fromarray(picture(37, 45, 3))
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    add(f"jpeg_orientation_{orientation}", saved(colour, "JPEG", quality=92, exif=exif))
for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
    add("jpeg_" + name, saved(colour, "JPEG", quality=85, subsampling=subsampling))
    add("jpeg_progressive_" + name, saved(colour, "JPEG", quality=85, subsampling=subsampling, progressive=True))
add("jpeg_gray_progressive", saved(colour.convert("L"), "JPEG", quality=85, progressive=True))
add("jpeg_cmyk_progressive", saved(Image.fromarray(picture(30, 28, 4), "CMYK"), "JPEG", quality=85, progressive=True))
add("jpeg_rgb", saved(colour, "JPEG", quality=90, keep_rgb=True))
add("jpeg_restart_markers", saved(colour, "JPEG", quality=90, restart_marker_rows=1))
add("jpeg_1x1", saved(colour.crop((3, 3, 4, 4)), "JPEG", quality=90))

# WebP.
alpha = Image.fromarray(noise, "RGBA")
add("webp_lossless", saved(colour, "WEBP", lossless=True))
add("webp_lossless_alpha", saved(alpha, "WEBP", lossless=True, exact=True))
add("webp_lossy", saved(colour, "WEBP", quality=80))
add("webp_lossy_alpha", saved(alpha, "WEBP", quality=80))
frames = [Image.fromarray(picture(20, 24, 3)) for _ in range(3)]
add("webp_animated", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, duration=50))

write_safetensors(HERE / "pictures.safetensors")
