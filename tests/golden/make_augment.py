#!/usr/bin/env python3
"""tests/golden/make_augment.py: writes timm_augment.safetensors beside itself.

timm's RandAugment operations of increasing strength at magnitude 9 and another one, made by the Pillow calls that timm
makes (Pillow 11.3.0), on the pictures of tcl_augment.safetensors. Needs numpy and Pillow.
Tensors: PICTURE.OPERATION.MAGNITUDE.SIGN, uint8 [72, 96, 3]; OPERATION as in data/image/rand_augment.h."""
import json
import pathlib
import struct

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

HERE = pathlib.Path(__file__).parent
FILL = (124, 116, 104)  # 255 times ImageNet's mean


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    return {n: np.frombuffer(data[8 + size + e["data_offsets"][0] : 8 + size + e["data_offsets"][1]], np.uint8).reshape(e["shape"])
            for n, e in header.items() if n.endswith(".in")}


def write_safetensors(path, tensors):
    header, blob = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array, dtype=np.uint8).tobytes()
        header[name] = {"dtype": "U8", "shape": list(array.shape), "data_offsets": [len(blob), len(blob) + len(raw)]}
        blob += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def affine(image, matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BICUBIC, fillcolor=FILL)


def results(image, m, sign):
    """{operation: picture}; what does not depend on the sign is there for +1 only."""
    width, height = image.size
    a = sign * m / 10
    factor = max(0.1, 1 + 0.9 * a)
    signed = {
        "color": ImageEnhance.Color(image).enhance(factor),
        "contrast": ImageEnhance.Contrast(image).enhance(factor),
        "brightness": ImageEnhance.Brightness(image).enhance(factor),
        "sharpness": ImageEnhance.Sharpness(image).enhance(factor),
        "rotate": image.rotate(30 * a, resample=Image.Resampling.BICUBIC, fillcolor=FILL),
        "shear_x": affine(image, (1, 0.3 * a, 0, 0, 1, 0)),
        "shear_y": affine(image, (1, 0, 0, 0.3 * a, 1, 0)),
        "translate_x": affine(image, (1, 0, 0.45 * a * width, 0, 1, 0)),
        "translate_y": affine(image, (1, 0, 0, 0, 1, 0.45 * a * height)),
    }
    if sign < 0:
        return signed
    add = int(m / 10 * 110)
    table = [min(255, v + add) if v < 128 else v for v in range(256)]
    return signed | {
        "auto_contrast": ImageOps.autocontrast(image),
        "equalize": ImageOps.equalize(image),
        "invert": ImageOps.invert(image),
        "posterize": ImageOps.posterize(image, 4 - int(m / 10 * 4)),
        "solarize": ImageOps.solarize(image, 256 - int(m / 10 * 256)),
        "solarize_add": image.point(table * 3),
    }


tensors = {}
for name, picture in read_safetensors(HERE / "tcl_augment.safetensors").items():
    for m in (9.0, 3.3) if name == "vivid.in" else (9.0,):
        for sign in (1, -1):
            for operation, image in results(Image.fromarray(picture), m, sign).items():
                tensors[f"{name[:-3]}.{operation}.{m}.{sign}"] = np.asarray(image)
write_safetensors(HERE / "timm_augment.safetensors", tensors)
