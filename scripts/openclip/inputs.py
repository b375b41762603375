"""Writes the rows that both programs compute on: embeddings with labels, or pictures with tokens."""
import argparse

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("what", choices=["loss", "step"])
parser.add_argument("file", help="safetensors file to write")
parser.add_argument("--rows", type=int, required=True)
parser.add_argument("--width", type=int, default=512, help="loss: of embeddings")
parser.add_argument("--words", type=int, default=14, help="step: of a text, beside start and end")
args = parser.parse_args()

import numpy as np  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

draws = np.random.default_rng(1)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


if args.what == "loss":
    image = unit(draws.standard_normal((args.rows, args.width)))
    text = unit(image + 0.05 * draws.standard_normal((args.rows, args.width)))
    save_file({"image": image, "text": text, "labels": np.arange(args.rows) % max(1, args.rows // 4)}, args.file)
else:
    tokens = np.zeros((args.rows, 77), np.int64)
    tokens[:, 0], tokens[:, args.words + 1] = 49406, 49407
    tokens[:, 1:args.words + 1] = draws.integers(1, 49406, (args.rows, args.words))
    save_file({"images": draws.integers(0, 256, (args.rows, 224, 224, 3), dtype=np.uint8), "tokens": tokens}, args.file)
