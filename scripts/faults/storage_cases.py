"""C, I2: disks that are full, that refuse, folders that go."""
import errno
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

from faults import oracles, processes
from faults.case import Case
from faults.oracles import Failure
from faults.world import checkpoints, fault, pace


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


def refused_calls(trial):
    """EIO, once at each kind of call, on different saves: each is told, older checkpoints stay, the run goes on."""
    points = ["ckpt.open", "ckpt.write", "ckpt.fsync", "ckpt.rename"]
    trial.rng.shuffle(points)
    job = trial.start(faults=[fault(point, "eio", step=step, rank=0) for point, step in zip(points, (15, 30, 45, 60))])
    trial.finish(job)
    lines = [line for line in job.output().splitlines() if "could not save" in line and "Input/output error" in line]
    if len(lines) != len(points):
        raise Failure(f"MSG: {len(lines)} saves were said to have failed, expected {len(points)}")
    if job.own_events("fault"):
        raise Failure("one failed save was taken for a fault of the job")


def folder_removed(trial):
    """Somebody removes the run's folder: no hang, and not without a word; then the same command begins anew."""
    job = trial.start("--max-restarts", 0, faults=[pace(0.05)])
    job.await_step(trial.rng.randrange(10, 40))
    saved = len(job.own_events("checkpoint"))
    job.until(lambda: len(job.own_events("checkpoint")) > saved, "to save")  # a save that is cut off would speak
    at, said = time.time(), len(job.output())
    trial.run_dir.rename(trial.folder / "removed")
    shutil.rmtree(trial.folder / "removed")
    job.expect(0, 7)
    oracles.within("the end", time.time() - at, 60 * trial.slack)
    lines = [line for line in job.output()[said:].splitlines() if "warning" in line or "error" in line]
    oracles.message("\n".join(lines), str(trial.run_dir))
    trial.check_clean()
    shutil.rmtree(trial.run_dir, ignore_errors=True)
    trial.resume()


def no_tmpfs():
    """Why no disk can be mounted where everybody sees it; "" if one can."""
    if os.geteuid() != 0:
        return "a small disk wants root"
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", folder], capture_output=True).returncode != 0:
            return "no tmpfs can be mounted"
        subprocess.run(["umount", folder], check=True)
    return ""


def small_disk(trial):
    """The run's folder is a disk of its own, which somebody else fills in the middle. Older checkpoints stay whole; with
    room again the same command goes on."""
    trial.run_dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", trial.run_dir], check=True)
    try:
        job = trial.start(faults=[pace(0.05)])
        job.await_step(trial.rng.randrange(12, 40))
        kept, filler = checkpoints(trial.run_dir), trial.run_dir / "filler"
        # Again and again: each checkpoint that goes makes room for the next one.
        job.until(lambda: fill(filler) or "No space left on device" in job.output(), "to say that the disk is full")
        code = job.expect(0, 7)
        trial.check_clean()
        for step in checkpoints(trial.run_dir):
            folder = trial.run_dir / f"checkpoints/step_{step:08}"
            subprocess.run([trial.world.settings.binary, "inspect", folder], check=True, stdout=subprocess.DEVNULL)
        if not checkpoints(trial.run_dir) or checkpoints(trial.run_dir)[-1] < kept[-1]:
            raise Failure(f"checkpoints {kept} became {checkpoints(trial.run_dir)} on a full disk")
        trial.note(f"code {code}, newest checkpoint {checkpoints(trial.run_dir)[-1]}")
        filler.unlink()
        trial.resume()
    finally:
        processes.end_all(trial.mark)
        subprocess.run(["umount", "--lazy", trial.run_dir], check=True)


def fill(path):
    with open(path, "ab", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


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


# ---- memory

MEMORY = pathlib.Path("/sys/fs/cgroup/memory")


def missing_memory_limits():
    """Why no job can be given less memory than it wants; "" if one can."""
    return "" if os.access(MEMORY / "memory.limit_in_bytes", os.W_OK) else "there is no memory cgroup (version 1) to write to"


def out_of_memory(trial):
    """The kernel kills ranks until the limit is lifted."""
    group = MEMORY / f"triptych-faults-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(100 << 20))
        inside = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
        job = trial.start("--max-restarts", 100, enter=inside)
        job.until(lambda: len(job.own_events("fault")) >= 2, "to lose ranks for want of memory")
        (group / "memory.limit_in_bytes").write_text("-1")
        trial.finish(job)
        killed = int(re.search(r"^oom_kill (\d+)", (group / "memory.oom_control").read_text(), re.M)[1])
        if killed < 2:
            raise Failure(f"the kernel killed {killed} processes: these faults were others: {job.own_events('fault')}")
        oracles.message(job.output(), "137", "SIGKILL")
        trial.note(f"{killed} processes killed by the kernel")
    finally:
        processes.end_all(trial.mark)
        group.rmdir()


CASES = [
    Case("A4", "the kernel is out of memory", out_of_memory, needs=missing_memory_limits),
    Case("C3", "the disk is full at one save", failed_save),
    Case("C3.full", "the disk stays full", full_disk),
    Case("C3.disk", "the disk is full in the middle of a run", small_disk, needs=no_tmpfs),
    Case("C5", "EIO at open, write, fsync, rename", refused_calls),
    Case("C11", "the run's folder is removed", folder_removed),
    Case("I2", "the journal's disk is full", full_journal, needs=no_small_disk),
]
