"""C, I2: disks that are full."""
import os
import shutil
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
    job = trial.start(faults=[fault("ckpt.write", "enospc", rank=0, count=0, skip=150)])
    job.expect(7)
    oracles.message(job.output(), "No space left on device")
    trial.check_clean()
    if not checkpoints(trial.run_dir):
        raise Failure("no checkpoint is left")
    trial.note(f"{len(job.own_events('start'))} starts, newest checkpoint {checkpoints(trial.run_dir)[-1]}")
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
    (trial.run_dir / "launch.jsonl").touch()
    disk = trial.folder / "disk"
    disk.mkdir()
    script = ('mount -t tmpfs -o size=4k none "$1" && touch "$1/launch.jsonl" && '
              'mount --bind "$1/launch.jsonl" "$2/launch.jsonl" && shift 2 && exec "$@"')
    job = trial.start(enter=["unshare", "--mount", "sh", "-c", script, "sh", disk, trial.run_dir])
    trial.finish(job)
    oracles.message(job.output(), "journal", "No space left on device")


CASES = [
    Case("C3", "the disk is full at one save", failed_save),
    Case("C3.full", "the disk stays full", full_disk),
    Case("I2", "the journal's disk is full", full_journal, needs=no_small_disk),
]
