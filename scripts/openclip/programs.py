"""Runs both whole programs, data and all, and looks at them from outside: seconds to the first optimizer step, memory."""
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TINY = {"embed_dim": 64, "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}}
MODELS = {  # our towers, OpenCLIP's name
    "tiny": ("{image: {type: vit, image_size: 64, patch_size: 16, width: 64, depth: 2, heads: 2}, "
             "text: {type: causal_transformer, context: 32, width: 64, depth: 2, heads: 2}, embed_dim: 64}", "bench-tiny"),
    "ViT-B/32": ("{image: {type: vit, image_size: 224, patch_size: 32, width: 768, depth: 12, heads: 12}, "
                 "text: {type: causal_transformer, context: 77, width: 512, depth: 12, heads: 8}, embed_dim: 512}", "ViT-B-32")}


def tree(pid):
    """A process and its living descendants."""
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        try:
            for task in os.listdir(f"/proc/{found[-1]}/task"):
                todo += map(int, open(f"/proc/{found[-1]}/task/{task}/children").read().split())
        except OSError:
            pass
    return found


def memory_mb(pid):
    """Proportional set size of the tree: what processes share counts once."""
    kilobytes = 0
    for one in tree(pid):
        try:
            kilobytes += sum(int(line.split()[1]) for line in open(f"/proc/{one}/smaps_rollup") if line.startswith("Pss:"))
        except OSError:
            pass
    return kilobytes / 1024


def end(process):
    for pid in tree(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    process.wait()


def watch(command, env, log, steps_done, steps):
    """Runs until `steps_done()` reports that many steps: seconds to the first one, and the most memory on the way."""
    begin, first, most = time.perf_counter(), None, 0.0
    with open(log, "w") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT)
    while True:
        done = steps_done()
        if done and first is None:
            first = time.perf_counter() - begin
        if done >= steps:
            break
        if process.poll() is not None and steps_done() < steps:
            raise SystemExit(f"ended early: {' '.join(map(str, command))}\n{open(log).read()[-3000:]}")
        if steps > 1:
            most = max(most, memory_mb(process.pid))
        time.sleep(0.02 if steps == 1 else 0.2)
    end(process)
    return {"first_step_s": first, "peak_pss_mb": most}


def count(path, word):
    return open(path).read().count(word) if os.path.exists(path) else 0


def ours(binary, model, shards, batch, precision, threads, steps):
    with tempfile.TemporaryDirectory() as folder:
        config = f"{folder}/run.yaml"
        Path(config).write_text(f"""
run: {{name: bench, dir: {folder}}}
data:
  corpora: [{{name: bench, kind: image_text, format: webdataset, path: "{shards}/train-*.tar", caption_keys: [txt]}}]
  augment: {{recipe: clip}}
objective: {{name: clip}}
model: {MODELS[model][0]}
train: {{global_batch: {batch}, precision: {precision}, threads: {threads}, device: cpu}}
optimizer: {{lr: 1e-4}}
schedule: {{total: {{steps: 100000}}, warmup: {{steps: 1}}}}
checkpoint: {{every: {{steps: 0}}}}
log: {{every: {{steps: 1}}, tensorboard: false}}
""")
        return watch([binary, "train", config], dict(os.environ), f"{folder}/log",
                     lambda: count(f"{folder}/bench/metrics.jsonl", '"step"'), steps)


def theirs(python, model, shards, batch, precision, threads, steps):
    tars = sorted(Path(shards).glob("train-*.tar"))
    numbers = [path.stem.split("-")[-1] for path in tars]
    with tempfile.TemporaryDirectory() as folder:
        Path(f"{folder}/bench-tiny.json").write_text(json.dumps(TINY))
        command = [python, "scripts/openclip/train.py", "--model", MODELS[model][1], "--dataset-type", "webdataset", "--train-data",
                   f"{shards}/train-{{{numbers[0]}..{numbers[-1]}}}.tar", "--train-num-samples", "100000", "--workers", "1",
                   "--batch-size", str(batch), "--precision", "amp_bf16" if precision == "bf16" else precision, "--device", "cpu",
                   "--epochs", "1", "--warmup", "1", "--lr", "1e-4", "--log-every-n-steps", "1", "--save-frequency", "0", "--logs",
                   folder, "--name", "bench"]
        return watch(command, dict(os.environ, MODEL_CONFIGS=folder, OMP_NUM_THREADS=str(threads)), f"{folder}/log",
                     lambda: count(f"{folder}/log", "Train Epoch"), steps)
