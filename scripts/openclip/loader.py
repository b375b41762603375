"""OpenCLIP's webdataset pipeline without a model: decoded, augmented, normalised, tokenised samples a second."""
import argparse
import json
import os
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--tars", required=True, help="shards as webdataset spells them: DIR/train-{000..003}.tar")
parser.add_argument("--workers", type=int, required=True)
parser.add_argument("--image-size", type=int, default=224)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--seconds", type=float, default=10)
args = parser.parse_args()

import open_clip  # noqa: E402  (after the arguments: importing takes seconds)
import torch  # noqa: E402
from open_clip.transform import image_transform  # noqa: E402
from open_clip_train.data import get_data  # noqa: E402
from open_clip_train.params import parse_args  # noqa: E402

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
torch.set_num_threads(1)
options = parse_args(["--model", "ViT-B-32", "--device", "cpu", "--batch-size", str(args.batch), "--workers", str(args.workers),
                      "--train-data", args.tars, "--dataset-type", "webdataset", "--dataset-resampled",
                      "--train-num-samples", str(10**7)])
options.distributed, options.world_size, options.rank = False, 1, 0
transform = image_transform(args.image_size, is_train=True, mean=MEAN, std=STD)
data = get_data(options, (transform, transform), epoch=0, tokenizer=open_clip.get_tokenizer("ViT-B-32"))["train"]
data.set_epoch(0)
batches = iter(data.dataloader)
next(batches)  # starting the workers and filling their shuffle buffers does not count
start, rows = time.perf_counter(), 0
while time.perf_counter() - start < args.seconds:
    rows += len(next(batches)[0])
seconds = time.perf_counter() - start
print(json.dumps({"samples_per_s": rows / seconds, "samples": rows, "workers": args.workers}), flush=True)
os._exit(0)  # the workers would be waited for
