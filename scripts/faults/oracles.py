"""What must hold after a fault. Each function raises Failure with the reason; times are seconds."""
import datetime
import json
import pathlib
import time

from faults import processes


class Failure(Exception):
    """The program did not do what it must."""


def first_difference(expected, got):
    """Where two files of JSON lines begin to differ, and in which keys."""
    a, b = expected.splitlines(), got.splitlines()
    for number, (left, right) in enumerate(zip(a, b), 1):
        if left == right:
            continue
        try:
            left, right = json.loads(left), json.loads(right)
        except ValueError:
            return f"line {number} is no JSON"
        keys = [key for key in left if left[key] != right.get(key)] or sorted(set(right) - set(left))
        return f"line {number}: " + ", ".join(keys)
    return f"{len(a)} and {len(b)} lines" if len(a) != len(b) else "the end of the last line"


def bit(expected, got):
    """BIT: the records of all steps are those of the uninterrupted run, byte for byte."""
    if not expected:
        raise Failure("BIT: the uninterrupted run recorded no step")
    if got != expected:
        raise Failure("BIT: steps.jsonl differs from the uninterrupted run's: " + first_difference(expected, got))


def once(ledger):
    """ONCE: every position once and in order; in an epoch no record twice, but for replacements of bad ones; whole
    epochs are of one length."""
    seen, sizes = set(), {}
    for number, line in enumerate(ledger.splitlines()):
        try:
            row = json.loads(line)
        except ValueError:
            raise Failure(f"ONCE: line {number + 1} of the ledger is no JSON") from None
        if row["position"] != number:
            raise Failure(f"ONCE: line {number + 1} of the ledger has position {row['position']}, expected {number}")
        sizes[row["epoch"]] = sizes.get(row["epoch"], 0) + 1
        key = row["epoch"], row["corpus"], row["record"]
        if not row["replacement"] and key in seen:
            raise Failure("ONCE: in epoch {} record {} of {} comes twice".format(key[0], key[2], key[1]))
        if not row["replacement"]:
            seen.add(key)
    if not sizes:
        raise Failure("ONCE: the ledger is empty")
    whole = [sizes[epoch] for epoch in sorted(sizes)[:-1]]
    if sorted(sizes) != list(range(len(sizes))) or len(set(whole)) > 1:
        raise Failure(f"ONCE: samples of the epochs: {sizes}")


def exit_code(got, *allowed):
    """EXIT: the code of the cause; never 0 for a failure."""
    if got not in allowed:
        raise Failure(f"EXIT: {got}, expected {' or '.join(map(str, allowed))}")


def message(text, *parts):
    """MSG: one line holds all the parts. The line."""
    for line in text.splitlines():
        if all(part in line for part in parts):
            return line
    raise Failure("MSG: no line with " + " and ".join(repr(part) for part in parts))


def clean(mark, run_dirs=(), within=5.0):
    """CLEAN: after `within` seconds nothing of this mark runs, and no unfinished checkpoint is there."""
    end = time.monotonic() + within
    while left := processes.marked(mark):
        if time.monotonic() > end:
            raise Failure("CLEAN: still there: " + "; ".join(f"{pid} {processes.command(pid)[:80]}" for pid in left))
        time.sleep(0.05)
    for run_dir in run_dirs:
        unfinished = [path.name for path in run_dir.glob("checkpoints/*.tmp")]
        if unfinished:
            raise Failure("CLEAN: unfinished checkpoints: " + ", ".join(unfinished))


def clean_outside(left, mpirun_was_killed=False):
    """CLEAN: nothing of a job is left in shared memory or the folder for temporary files, and none of its sockets
    listens. The session folders of an Open MPI that was killed itself are excused: a note counts them."""
    sessions = [what for what in left if mpirun_was_killed and pathlib.PurePath(what).name.startswith("ompi.")]
    if len(sessions) < len(left):
        raise Failure("CLEAN: left behind: " + ", ".join(what for what in left if what not in sessions))
    return f"{len(sessions)} session folders of Open MPI left" if sessions else ""


def read_journal(data):
    """Events of launch.jsonl. A line that is no JSON is a Failure, but for a last one without an end."""
    events = []
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        try:
            events.append(json.loads(line))
        except ValueError:
            if line.endswith(b"\n"):
                raise Failure(f"launch.jsonl:{number} is no JSON") from None
    return events


def moment(event):
    """Of an event, in seconds since 1970."""
    return datetime.datetime.fromisoformat(event["time"]).timestamp()


def timing(events, fault_at):
    """TIME: seconds from `fault_at` until the launcher knew, and until the first step after that which had not been done
    before; None: not yet."""
    known, done = None, -1
    for event in events:
        if known is None:
            done = max(done, event.get("step", -1))
            if event["event"] == "fault" and moment(event) >= fault_at - 0.005:
                known = moment(event) - fault_at
        elif event["event"] == "step" and event["step"] > done:
            return known, moment(event) - fault_at
    return known, None


def within(what, seconds, limit):
    """TIME: a limit that is kept."""
    if seconds is None or seconds > limit:
        got = "never" if seconds is None else f"{seconds:.2f} s"
        raise Failure(f"TIME: {what}: {got}, expected at most {limit:g} s")


def slope(samples):
    """Least squares through (time, value): change of the value a second."""
    n = len(samples)
    mean_t, mean_v = sum(t for t, _ in samples) / n, sum(v for _, v in samples) / n
    spread = sum((t - mean_t) ** 2 for t, _ in samples)
    return sum((t - mean_t) * (v - mean_v) for t, v in samples) / spread if spread else 0.0
