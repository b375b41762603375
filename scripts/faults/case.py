"""A row of the table, and what its function is given."""
import dataclasses
import json
import random
import shutil
import signal
import subprocess
import time
from typing import Callable, Optional

from faults import oracles, processes
from faults.oracles import Failure
from faults.traces import Traces
from faults.world import Job, environment


@dataclasses.dataclass(frozen=True)
class Case:
    id: str  # row of the matrix of faults, and which of several
    title: str
    run: Callable[["Trial"], None]
    long: bool = False
    needs: Optional[Callable[[], str]] = None  # why it cannot run here; "" if it can


class Trial:
    """One run of one case: its folder, its random numbers, what it measured."""

    def __init__(self, case, world, seed):
        self.case, self.world, self.slack = case, world, world.settings.slack
        self.rng = random.Random(f"{seed} {case.id}")
        self.folder = world.folder / case.id
        self.folder.mkdir()
        self.mark = str(self.folder)
        self.run_dir = self.folder / "run"
        self.detections, self.recoveries, self.notes, self.jobs = [], [], [], []
        self.mpirun_was_killed = False  # or one of its daemons: nobody else knows what there was to be removed
        self.traces = Traces(self.mark, every=2.0 if case.long else 0.2)

    def start(self, *options, **more):
        """`triptych launch`; see Job."""
        self.jobs.append(Job(self, *options, **more))
        return self.jobs[-1]

    def records(self, name):
        return (self.run_dir / name).read_bytes()

    def launches(self):
        """What `triptych inspect` reckons from the journal."""
        words = [self.world.settings.binary, "inspect", str(self.run_dir), "--format", "json"]
        told = subprocess.run(words, capture_output=True, check=True, env=environment(self.mark, self.folder)).stdout
        return json.loads(told)["launches"]

    def check_bits(self, config="plain"):
        """BIT and ONCE."""
        whole = self.world.reference(config)
        oracles.bit((whole / "steps.jsonl").read_bytes(), self.records("steps.jsonl"))
        oracles.once(self.records("ledger.jsonl"))
        if self.records("ledger.jsonl") != (whole / "ledger.jsonl").read_bytes():
            raise Failure("ONCE: the ledger differs from the uninterrupted run's: " + oracles.first_difference(
                (whole / "ledger.jsonl").read_bytes(), self.records("ledger.jsonl")))

    def check_clean(self, within=5.0):
        # A rank that others took with it may have been saving: what it left is the next start's to remove.
        orderly = not self.jobs or self.jobs[-1].process.poll() in (0, 75)
        oracles.clean(self.mark, [self.run_dir] if orderly else [], within * self.slack)
        temporary = self.folder / "tmp"
        left = self.traces.left(2 * self.slack) + [str(path) for path in sorted(temporary.glob("*"))]
        if note := oracles.clean_outside(left, self.mpirun_was_killed):
            self.note(note)

    def finish(self, job, config="plain"):
        """The job ends well, and nobody sees that anything ever happened."""
        job.expect(0)
        self.check_bits(config)
        self.check_clean()

    def stop(self, job):
        """Asks it to save and end."""
        job.signal(signal.SIGTERM)
        job.expect(75)
        self.check_clean()

    def resume(self, config="plain", **more):
        """The same command again, without faults."""
        self.finish(self.start(config=config, **more), config)

    def recovered(self, job, fault_at, kind=None, rank=None, detection=1.0, recovery=10.0):
        """Waits for the fault and the first step after it; checks and notes both times. The fault's event."""
        job.until(lambda: oracles.timing(job.events(), fault_at)[1] is not None, "to go on after the fault")
        known, new_step = oracles.timing(job.events(), fault_at)
        self.detections.append(known)
        self.recoveries.append(new_step)
        fault = next(e for e in job.events() if e["event"] == "fault" and oracles.moment(e) >= fault_at - 0.005)
        if kind is not None and fault["kind"] not in kind:
            raise Failure(f"MSG: the journal says {fault['kind']!r}, expected {' or '.join(kind)}: {fault['text']}")
        if rank is not None and fault["rank"] != rank:
            raise Failure(f"MSG: the journal blames rank {fault['rank']}, expected {rank}: {fault['text']}")
        oracles.within("found", known, detection * self.slack)
        oracles.within("the first step after the fault", new_step, recovery * self.slack)
        return fault

    def note(self, text):
        self.notes.append(text)

    def close(self, keep):
        """Ends what is left of it."""
        processes.end_all(self.mark)
        for job in self.jobs:
            job.close()
        self.traces.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


@dataclasses.dataclass
class Verdict:
    case: Case
    state: str  # "passed", "FAILED" or "not run"
    seconds: float = 0.0
    detections: tuple = ()
    recoveries: tuple = ()
    why: str = ""

    def times(self):
        def span(values):
            low, high = min(values), max(values)
            return f"{low:.2f} s" if high - low < 0.005 else f"{low:.2f}-{high:.2f} s"
        return span(self.detections) if self.detections else "", span(self.recoveries) if self.recoveries else ""


def run_case(case, world, seed, keep):
    reason = case.needs() if case.needs else ""
    if reason:
        return Verdict(case, "not run", why=reason)
    begin, trial = time.monotonic(), Trial(case, world, seed)
    state, why = "passed", ""
    try:
        case.run(trial)
        why = "; ".join(trial.notes)
    except (Failure, OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        state, why = "FAILED", str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
    finally:
        trial.close(keep or state == "FAILED")
    return Verdict(case, state, time.monotonic() - begin, tuple(trial.detections), tuple(trial.recoveries), why)
