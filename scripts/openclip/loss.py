"""OpenCLIP's ClipLoss, or UniCL as its authors write it, forward and backward on the rows of a file: seconds, added memory, loss."""
import argparse
import json
import resource
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--inputs", required=True, help="safetensors file with image, text [B, d] and labels [B]")
parser.add_argument("--objective", choices=["clip", "unicl"], default="clip")
parser.add_argument("--precision", choices=["fp32", "amp_bf16"], default="fp32")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seconds", type=float, default=10)
args = parser.parse_args()

import torch  # noqa: E402  (after the arguments: importing takes seconds)
import torch.nn.functional as F  # noqa: E402
from open_clip.loss import ClipLoss  # noqa: E402
from safetensors.torch import load_file  # noqa: E402


def unicl(image, text, scale, labels):
    """github.com/microsoft/UniCL, README: targets as a matrix, its rows summing to one, cross entropy in both directions."""
    targets = (labels[:, None] == labels[None, :]).to(image.dtype)
    targets = targets / targets.sum(1, keepdim=True)
    entropy = lambda logits: -(targets * F.log_softmax(logits, dim=-1)).sum(-1).mean()
    return (entropy(scale * image @ text.t()) + entropy(scale * text @ image.t())) / 2


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


torch.set_num_threads(args.threads)
rows = load_file(args.inputs)
image, text = (rows[name].requires_grad_() for name in ("image", "text"))
scale = torch.tensor(14.0).requires_grad_()
clip = ClipLoss(cache_labels=True)
before, times, start = peak_mb(), [], time.perf_counter()
while len(times) < 3 or time.perf_counter() - start < args.seconds:  # the first is not counted
    begin = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.precision == "amp_bf16"):
        loss = clip(image, text, scale) if args.objective == "clip" else unicl(image, text, scale, rows["labels"])
    loss.backward()
    image.grad = text.grad = scale.grad = None
    times.append(time.perf_counter() - begin)
print(json.dumps({"loss": loss.item(), "best_s": min(times[1:]), "added_mb": peak_mb() - before, "peak_rss_mb": peak_mb()}))
