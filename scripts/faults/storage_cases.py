"""C, I2: disks that are full."""
import json
import os
import shutil
import signal
import subprocess

from faults import oracles
from faults.case import Case
from faults.oracles import Failure
from faults.world import checkpoints, fault


def failed_save(trial):
    job = trial.start(faults=[fault("ckpt.write", "enospc", step=30, rank=0)])
    trial.finish(job)
    oracles.message(job.output(), "could not save", "No space left on device")
    if job.own_events("fault"):
        raise Failure("one failed save was taken for a fault of the job")


def full_disk(trial):
    """Stays full: one restart, for somebody may have made room, then its code. Older checkpoints stay whole."""
    first = trial.start()
    first.await_step(trial.rng.randrange(12, 40))
    first.signal(signal.SIGTERM)
    first.expect(75)
    kept = checkpoints(trial.run_dir)
    job = trial.start(faults=[fault("ckpt.write", "enospc", rank=0, count=0)])
    job.expect(7)
    oracles.message(job.output(), "No space left on device")
    trial.check_clean()
    if checkpoints(trial.run_dir) != kept:
        raise Failure(f"checkpoints {kept} became {checkpoints(trial.run_dir)} on a full disk")
    trial.note(f"{len(job.own_events('start'))} starts")
    trial.resume()


def no_small_disk():
    if os.geteuid() != 0:
        return "a small disk wants root"
    if not shutil.which("unshare"):
        return "no unshare here"
    probe = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=4k", "none", "/mnt"], capture_output=True)
    return "" if probe.returncode == 0 else "no tmpfs can be mounted"


def full_journal(trial):
    """The journal alone lies on a disk of one page, which is nearly full: in a mount namespace, which ends with it."""
    trial.run_dir.mkdir()
    older = {"time": "2026-01-01T00:00:00.000Z", "uptime_s": 0.5, "event": "warning", "text": "x" * 2000}
    (trial.run_dir / "launch.jsonl").write_text(json.dumps(older) + "\n")
    disk = trial.folder / "disk"
    disk.mkdir()
    script = ('mount -t tmpfs -o size=4k none "$1" && cp "$2/launch.jsonl" "$1" && '
              'mount --bind "$1/launch.jsonl" "$2/launch.jsonl" && shift 2 && exec "$@"')
    job = trial.start(enter=["unshare", "--mount", "sh", "-c", script, "sh", disk, trial.run_dir])
    trial.finish(job)
    oracles.message(job.output(), "journal", "No space left on device")


CASES = [
    Case("C3", "the disk is full at one save", failed_save),
    Case("C3.full", "the disk stays full", full_disk),
    Case("I2", "the journal's disk is full", full_journal, needs=no_small_disk),
]
