"""F3, D1, C19 and what the launcher takes: other bits on one rank, other surroundings, and the cost of it all."""
import signal
import time

from faults import hosts, oracles, processes
from faults.case import Case
from faults.oracles import Failure
from faults.world import checkpoints, fault, pace

MOST_MEMORY = 30e6  # of the launcher, in bytes
MOST_WORK = 1e-3  # of the cores of its two ranks, while steps last 0.1 s


def flipped_bit(trial):
    """One bit of a parameter of one of three ranks: that rank and the item are named before anything is saved."""
    rank, step = trial.rng.randrange(3), trial.rng.choice((22, 31, 41))
    job = trial.start(config="guard", ranks=3, faults=[fault("opt", "flip", step=step, rank=rank)])
    job.await_text("planned fault: flip")
    job.no_more_faults()
    job.until(lambda: job.own_events("fault"), "to see the flipped bit")
    saved, found = checkpoints(trial.run_dir)[-1], job.own_events("fault")[0]
    if saved >= step:
        raise Failure(f"step {saved} was saved, though a bit was flipped in step {step}")
    line = oracles.message(job.output(), "no longer hold the same state", f"rank {rank} on ", "2 others have")
    trial.note("named: " + line.partition("same state. ")[2].partition(" has ")[0])
    trial.finish(job, "guard")
    restarts = job.own_events("restart")
    if len(restarts) != 1 or restarts[0]["from_step"] >= step:
        raise Failure(f"expected one restart from before step {step}, got {restarts}")
    if found["rank"] not in (rank, -1):  # its host is what counts when one is to be left out
        raise Failure(f"MSG: the journal blames rank {found['rank']}, the bit flipped on rank {rank}: {found['text']}")


def surroundings(trial):
    """Language, time zone, folder, what fresh memory holds: the same bits."""
    others = ["env", "-C", "/", "LC_ALL=de_DE.UTF-8", "LANG=de_DE.UTF-8", "TZ=Asia/Kolkata", "MALLOC_PERTURB_=165", "HOME=/none"]
    trial.finish(trial.start(enter=others))


def end_of_an_epoch(trial):
    """Clocks pass the second that 31 bits cannot count, and nobody minds."""
    clock = [f"LD_PRELOAD={hosts.FAKETIME}", "FAKETIME=@2038-01-19 03:14:00", *hosts.FAKETIME_RULES]
    job = trial.start(enter=["env", "TZ=UTC", *clock], faults=[pace(0.15)])
    job.await_step(40)
    if not all(processes.has_mapped(pid, "libfaketime") for pid in job.ranks().values()):
        raise Failure("CTRL: the ranks have the clock of the machine")
    job.signal(signal.SIGKILL, job.rank(1))
    trial.finish(job)
    times = [event["time"] for event in job.events()]
    if not (times[0] < "2038-01-19T03:14:07" < times[-1]):
        raise Failure(f"the run went from {times[0]} to {times[-1]}")


# ---- costs

def launcher_cost(trial):
    trial.world.longer_config("longer", 300, save_every=50)
    job = trial.start(config="longer", faults=[pace(0.1)])  # each delay is a line of output, too
    job.await_step(10)
    pid, seconds = job.process.pid, 10.0
    begin, before = time.monotonic(), processes.work(pid)
    time.sleep(seconds)
    share = (processes.work(pid) - before) / (time.monotonic() - begin) / 2
    memory = processes.memory(pid)
    trial.note(f"{memory / 1e6:.1f} MB, {100 * share:.3f} % of the cores of two ranks")
    trial.stop(job)
    if memory > MOST_MEMORY or share > MOST_WORK:
        raise Failure(f"the launcher takes {trial.notes[-1]}, expected at most {MOST_MEMORY / 1e6:g} MB and {100 * MOST_WORK:g} %")


def save_every_step(trial):
    """What training loses to saves where one fits into a step: all ranks pause 0.25 s in each."""
    job = trial.start(train=["--set", "checkpoint.every.steps=1"], faults=[pace(0.25, rank=-1)])
    trial.finish(job)
    told = trial.launches()
    saves = [e["seconds"] for e in job.own_events("checkpoint")]
    if len(saves) < 80:
        raise Failure(f"{len(saves)} saves in 80 steps")
    share = told["saving_s"] / (told["saving_s"] + told["productive_s"])
    trial.note(f"{len(saves)} saves of {1000 * sorted(saves)[len(saves) // 2]:.0f} ms, training stood still for {100 * share:.2f} % of its time")
    if share > 0.01 * trial.slack:
        raise Failure(f"a save at every step costs too much: {trial.notes[-1]}")


CASES = [
    Case("F3", "a bit flips on one of three ranks", flipped_bit),
    Case("D1", "other locale, time zone, folder and fresh memory", surroundings),
    Case("I3", "clocks pass the year 2038", end_of_an_epoch, needs=hosts.missing_clock),
    Case("C19", "a checkpoint at every step", save_every_step, long=True),
    Case("L.cost", "memory and work of the launcher", launcher_cost, long=True),
]
