"""CTRL: what must make an oracle fail does. An oracle that is content with everything proves nothing."""
import os
import signal
import subprocess
import sys

from faults import checkpoint_edit, oracles, processes, traces
from faults.case import Case
from faults.oracles import Failure
from faults.world import checkpoints


def must_fail(what, oracle, *arguments):
    try:
        oracle(*arguments)
    except Failure as failure:
        return str(failure)
    raise Failure(f"CTRL: the oracle did not mind {what}")


def forgotten_state(trial):
    """A resume without one item of its state is seen by BIT."""
    job = trial.start()
    job.await_step(20)
    job.signal(signal.SIGTERM)
    job.expect(75)
    checkpoint = trial.run_dir / f"checkpoints/step_{checkpoints(trial.run_dir)[-1]:08}"
    names = checkpoint_edit.items(checkpoint)
    moments = [name for name, (begin, end) in names.items() if end - begin in range(256, 20_000)]
    item = trial.rng.choice(sorted(moments))
    if not checkpoint_edit.forget(checkpoint, item):
        raise Failure(f"{item} is zero in this checkpoint; choose another seed")
    again = trial.start()
    again.expect(0)
    if "damaged" in again.output() or ".bad" in again.output():
        raise Failure(f"CTRL: the edited checkpoint was not taken: {again.last_words()}")
    trial.note(f"without {item}: " + must_fail("a forgotten item of state", trial.check_bits))
    trial.check_clean()


def doubled_sample(trial):
    """ONCE and BIT on records that were spoiled by hand."""
    whole = trial.world.reference("plain")
    steps, ledger = (whole / "steps.jsonl").read_bytes(), (whole / "ledger.jsonl").read_bytes()
    oracles.bit(steps, steps)
    oracles.once(ledger)
    rows, lines = ledger.splitlines(keepends=True), steps.splitlines(keepends=True)
    at = trial.rng.randrange(1, len(rows) - 1)
    must_fail("a doubled line of the ledger", oracles.once, b"".join(rows[:at] + rows[at - 1:]))
    must_fail("a lost line of the ledger", oracles.once, b"".join(rows[:at] + rows[at + 1:]))
    must_fail("two samples in the other order", oracles.once, b"".join(rows[:at - 1] + [rows[at], rows[at - 1]] + rows[at + 1:]))
    must_fail("a lost step", oracles.bit, steps, b"".join(lines[:-1]))
    spoiled = bytearray(steps)
    place = steps.index(b'"parameters":"', len(lines[0]) * 3) + 15
    spoiled[place] = ord("0") if spoiled[place] != ord("0") else ord("1")
    trial.note(must_fail("another hash", oracles.bit, steps, bytes(spoiled)))


def process_left(trial):
    """CLEAN sees a process of the suite, a stopped one too, and an unfinished checkpoint."""
    oracles.clean(trial.mark, [trial.run_dir], 0)
    env = {**os.environ, processes.MARK: trial.mark}
    with subprocess.Popen(["sleep", "60"], env=env) as left:
        left.send_signal(signal.SIGSTOP)
        trial.note(must_fail("a process that is left", oracles.clean, trial.mark, [trial.run_dir], 0.2).split(";")[0])
        left.kill()
    (trial.run_dir / "checkpoints/step_00000005.tmp").mkdir(parents=True)
    must_fail("an unfinished checkpoint", oracles.clean, trial.mark, [trial.run_dir], 0)


# A process with a file in shared memory, as Open MPI's ranks have, whose name it does not take away.
LEAVES = """
import mmap, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.truncate(file, 4096)
memory = mmap.mmap(file, 4096)
print("mapped", flush=True)
time.sleep(60)
"""


def file_left(trial):
    """CLEAN sees what a process of the job had in shared memory, and minds it whoever was killed."""
    path = traces.SHARED_MEMORY / f"triptych-{trial.mark.replace('/', '-')}"
    env = {**os.environ, processes.MARK: trial.mark}
    with subprocess.Popen([sys.executable, "-c", LEAVES, path], env=env, stdout=subprocess.PIPE) as left:
        left.stdout.readline()
        trial.traces.look()
        left.kill()
    trial.note(must_fail("a file that is left", trial.check_clean))
    trial.mpirun_was_killed = True
    must_fail("a file that is left by a job that was killed", trial.check_clean)
    path.unlink()
    trial.check_clean()


CASES = [
    Case("X.state", "CTRL: an item of state is forgotten at a resume", forgotten_state),
    Case("X.records", "CTRL: spoiled records", doubled_sample),
    Case("X.clean", "CTRL: something is left behind", process_left),
    Case("X.outside", "CTRL: something is left in shared memory", file_left),
]
