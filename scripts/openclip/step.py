"""OpenCLIP's training step (zero, forward, ClipLoss, backward, AdamW, clamp) on one batch: seconds, peak memory, first losses.
With WORLD_SIZE, RANK, MASTER_ADDR and MASTER_PORT set: this rank's rows, over gloo, as --local-loss --gather-with-grad."""
import argparse
import contextlib
import json
import os
import resource
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default="ViT-B-32")
parser.add_argument("--inputs", required=True, help="safetensors file with images uint8 [B, side, side, 3] and tokens [B, context]")
parser.add_argument("--weights", required=True, help="safetensors file of the model; written when it is not there")
parser.add_argument("--precision", choices=["fp32", "amp_bf16"], default="fp32")
parser.add_argument("--accum", type=int, default=1, help="micro-batches of a step, as --accum-freq")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seconds", type=float, default=20)
parser.add_argument("--write", action="store_true", help="only writes the weights")
args = parser.parse_args()

import open_clip  # noqa: E402  (after the arguments: importing takes seconds)
import torch  # noqa: E402
from open_clip.loss import ClipLoss  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
LR, DECAY, BETAS, EPS = 1e-4, 0.2, (0.9, 0.98), 1e-6  # as in bench_against_openclip

world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
if world > 1:
    torch.distributed.init_process_group("gloo")
torch.set_num_threads(args.threads)
torch.manual_seed(0)
model = open_clip.create_model(args.model, precision=args.precision, output_dict=True)
model.train()
if args.write:
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, args.weights)
    raise SystemExit
model.load_state_dict(load_file(args.weights))
rows = {name: tensor.chunk(world)[rank] for name, tensor in load_file(args.inputs).items()}
pixels = rows["images"].permute(0, 3, 1, 2).float() / 255
images = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
micro = list(zip(images.chunk(args.accum), rows["tokens"].chunk(args.accum)))
loss_of, autocast = ClipLoss(local_loss=world > 1, gather_with_grad=world > 1, cache_labels=True, rank=rank, world_size=world), (
    (lambda: torch.autocast("cpu", dtype=torch.bfloat16)) if args.precision == "amp_bf16" else contextlib.nullcontext)
plain = lambda name, p: p.ndim < 2 or "bn" in name or "ln" in name or "bias" in name or "logit_scale" in name
named = list(model.named_parameters())
forward = torch.nn.parallel.DistributedDataParallel(model) if world > 1 else model
optimizer = torch.optim.AdamW([{"params": [p for n, p in named if plain(n, p)], "weight_decay": 0.0},
                               {"params": [p for n, p in named if not plain(n, p)], "weight_decay": DECAY}], lr=LR, betas=BETAS, eps=EPS)


def one_batch():
    with autocast():
        out = forward(*micro[0])
        loss = loss_of(out["image_features"], out["text_features"], out["logit_scale"])
    loss.backward()
    return loss.item()


def several_batches():
    """train_one_epoch's own accumulation: features of all first, then the loss of the whole batch once for each."""
    with torch.no_grad(), autocast():
        cached = [model(*batch) for batch in micro]
    for i, batch in enumerate(micro):
        with autocast():
            out = model(*batch)
            join = lambda name: torch.cat([*(c[name] for c in cached[:i]), out[name], *(c[name] for c in cached[i + 1:])])
            loss = loss_of(join("image_features"), join("text_features"), out["logit_scale"])
        loss.backward()
    return loss.item()


def go_on(times, start):
    """All ranks stop alike."""
    more = torch.tensor(float(len(times) < 3 or time.perf_counter() - start < args.seconds))
    if world > 1:
        torch.distributed.broadcast(more, 0)
    return bool(more)


times, losses, start = [], [], time.perf_counter()
while go_on(times, start):
    begin = time.perf_counter()
    optimizer.zero_grad()
    losses.append(one_batch() if args.accum == 1 else several_batches())
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, 4.6052)
    times.append(time.perf_counter() - begin)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"losses": losses[:3], "best_step_s": min(times[1:]), "samples_per_s": world * len(images) / min(times[1:]), "peak_rss_mb": peak}))
