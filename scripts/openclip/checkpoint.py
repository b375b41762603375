"""A checkpoint of a model and its AdamW as open_clip_train.main writes it: seconds of torch.save, and of torch.load and restoring."""
import argparse
import json
import os
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default="ViT-B-32")
parser.add_argument("--file", required=True, help="where to write; removed afterwards")
parser.add_argument("--seconds", type=float, default=20)
args = parser.parse_args()

import open_clip  # noqa: E402  (after the arguments: importing takes seconds)
import torch  # noqa: E402

model = open_clip.create_model(args.model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
for p in model.parameters():
    p.grad = torch.randn_like(p)
optimizer.step()
optimizer.zero_grad()


def timed(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def save():
    torch.save({"epoch": 1, "name": "bench", "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}, args.file)


def load():
    saved = torch.load(args.file, map_location="cpu", weights_only=True)
    model.load_state_dict(saved["state_dict"])
    optimizer.load_state_dict(saved["optimizer"])


saves, start = [], time.perf_counter()
while len(saves) < 3 or time.perf_counter() - start < args.seconds:
    saves.append(timed(save))
loads = [timed(load) for _ in range(2)]
megabytes = os.path.getsize(args.file) / 1e6
os.remove(args.file)
print(json.dumps({"best_blocked_s": min(saves), "best_load_s": min(loads), "megabytes": megabytes}))
