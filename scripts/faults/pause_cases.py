"""A6, A7, I4: what stands still for good, and what only pauses."""
import os
import signal
import time

from faults import oracles, processes
from faults.case import Case
from faults.oracles import Failure
from faults.world import fault, pace


def hangs_at(point, blamed, *parts, action="spin", **more):
    def run(trial):
        """Found; without restarts its code is that of a lost peer. Where both ranks are in the collective, their stacks
        tell who does not get on."""
        plan = fault(point, action, step=trial.rng.randrange(10, 40), rank=1, **more)
        job = trial.start("--hang", 5, "--max-restarts", 0, faults=[plan])
        job.await_text(f"planned fault: {action} at {point}")
        at = time.time()
        job.expect(5)
        trial.detections.append(oracles.timing(job.events(), at)[0])
        oracles.within("found", trial.detections[0], 12 * trial.slack)
        found = job.own_events("fault")[0]
        if found["kind"] != "hang" or found["rank"] != blamed:
            raise Failure(f"MSG: blamed {found}")
        for words in parts:
            oracles.message(found["text"], *words)
        trial.check_clean()
        trial.resume()
    return run


def half_the_limit(trial):
    """One warning, and no fault, for a pause of half of --hang; none for a save that takes longer than that."""
    hang = 8
    save = fault("ckpt.fsync", "delay", step=20, rank=0, seconds=hang + 2)
    job = trial.start("--hang", hang, faults=[save, pace(0.05, rank=-1)])
    job.await_text("planned fault: delay at ckpt.fsync")
    job.await_step(55)  # far from what the save delayed
    if warnings := job.own_events("warning"):
        raise Failure(f"a slow save gave a warning: {warnings[0]['text']}")
    rank = trial.rng.randrange(2)
    pid = job.rank(rank)
    job.signal(signal.SIGSTOP, pid)
    time.sleep(hang / 2 + 0.2)  # the launcher looks some times a second
    job.signal(signal.SIGCONT, pid)
    trial.finish(job)
    no_fault(job)
    pauses = [e["text"] for e in job.own_events("warning") if "does not report" in e["text"]]
    if len(pauses) != 1 or f"rank {rank} on " not in pauses[0]:
        raise Failure(f"MSG: expected one warning about the pause of rank {rank}, got {pauses}")
    oracles.message(job.output(), pauses[0])


def no_fault(job):
    alarms = job.own_events("fault") + job.own_events("restart")
    if alarms or len(job.own_events("start")) != 1:
        raise Failure(f"a false alarm: {[e.get('text', e['event']) for e in alarms]}")


def all_stand_still(trial):
    """As when a machine sleeps: everything stops for 15 s and goes on, with a limit of 10 s."""
    job = trial.start(faults=[pace(0.03)])
    job.await_step(trial.rng.randrange(10, 50))
    stopped = processes.marked(trial.mark)
    if len(stopped) < 4:
        raise Failure(f"only {len(stopped)} processes: expected the launcher, mpirun and two ranks")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(15)
    for pid in trial.rng.sample(stopped, len(stopped)):
        os.kill(pid, signal.SIGCONT)
    trial.finish(job)
    no_fault(job)


CASES = [
    Case("A6.sum", "a rank spins inside a collective", hangs_at(
        "allreduce.enter", -1, ("all 2 running ranks are in collective",), ("stack of rank 0 on",), ("stack of rank 1 on",))),
    Case("A6.data", "a thread that reads data stands still", hangs_at(
        "decode", 1, ("rank 1 on ", "step "), ("stack of rank 1 on",), count=0)),
    Case("A7.half", "a pause of half the limit warns once, a slow save does not", half_the_limit, long=True),
    Case("I4", "all processes stand still for 15 s", all_stand_still),
]
