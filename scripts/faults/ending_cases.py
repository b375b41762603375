"""A2, A3, A5, A9, A10: ranks that end in other ways than by kill -9, or are asked to stop without the launcher."""
import re
import resource
import signal
import subprocess
import time

from faults import oracles, processes
from faults.case import Case
from faults.oracles import Failure
from faults.world import checkpoints, fault, pace, steps_done


def backtrace(trial):
    """Open MPI prints it; the launcher hands it on with the rank in front."""
    job = trial.start("--max-restarts", 0, faults=[fault("bwd", "segv", step=trial.rng.randrange(5, 40), rank=1)])
    job.expect(139)
    oracles.message(job.output(), "Signal: Segmentation fault")
    frames = [line for line in job.output().splitlines() if re.search(r":1 \| .*\[ ?\d+\] .*\[0x[0-9a-f]+\]", line)]
    if len(frames) < 5:
        raise Failure(f"MSG: {len(frames)} lines of a backtrace in the output, expected at least 5")
    trial.note(f"{len(frames)} frames")
    trial.check_clean()
    trial.resume()


def exits_early(trial):
    """exit(0) in the middle of a run is no success; started again, it is a fault like others."""
    job = trial.start("--max-restarts", 0, faults=[fault("opt", "exit0", step=trial.rng.randrange(5, 40), rank=1)])
    job.expect(1)
    found = job.own_events("fault")[0]
    if found["rank"] != 1:
        raise Failure(f"MSG: blamed {found}")
    trial.check_clean()
    trial.resume()


def exits_in_start_up(trial):
    """Before the first step: a corpus that cannot be read ends it with that code, exit(0) is no success."""
    for action, code in (("eio", 2), ("exit0", 1)):
        job = trial.start("--max-restarts", 0, faults=[fault("data.read", action, step=0, rank=1, count=0)])
        at = time.time()
        job.expect(code)
        trial.detections.append(time.time() - at)
        if steps_done(trial.run_dir):
            raise Failure(f"{action} in start-up: {steps_done(trial.run_dir)} steps were done")
        oracles.message(job.output(), "rank 1 on ")
        trial.check_clean()
    trial.resume()


def too_little_memory(trial):
    """RLIMIT_AS below what ranks take, from a restart on: an error with a type, no hang, no loop of restarts."""
    codes, wrong = [], []
    for low in (0.87, 0.9, 0.93):  # less, and libraries fail before the program has begun
        share = trial.rng.uniform(low, low + 0.03)
        job = trial.start(faults=[pace(0.1)])
        job.await_step(steps_done(trial.run_dir) + 12)
        ranks = job.ranks()
        peak = min(processes.address_space(pid) for pid in ranks.values())
        resource.prlimit(job.process.pid, resource.RLIMIT_AS, (int(peak * share),) * 2)  # whom it starts inherits it
        job.signal(signal.SIGKILL, ranks[1])
        codes.append(job.wait())
        starts = len(job.own_events("start"))
        if codes[-1] not in (0, 2) or starts > 3:
            wrong.append(f"EXIT: {codes[-1]} after {starts} starts with {100 * share:.0f} % of {peak >> 20} MiB, "
                         f"expected 2 after 2: {job.last_words()}")
        if codes[-1] == 2:
            oracles.message(job.output(), "out of memory")
        trial.check_clean()
    trial.note(f"codes {codes}")
    if wrong:
        raise Failure("; ".join(wrong))
    if 2 not in codes:
        raise Failure(f"no limit was too small: codes {codes}")
    trial.resume()


# ---- A9, A10: asked to stop

def asked_at_ranks(trial):
    """SIGTERM to one rank or all; SIGHUP to the launcher."""
    def one(job):
        job.signal(signal.SIGTERM, job.rank(trial.rng.randrange(2)))

    def all_ranks(job):
        for pid in job.ranks().values():
            job.signal(signal.SIGTERM, pid)

    def launcher(job):
        job.signal(signal.SIGHUP)
    for what, ask in (("SIGTERM to one rank", one), ("SIGTERM to all ranks", all_ranks), ("SIGHUP to the launcher", launcher)):
        job = trial.start(faults=[pace(0.02)])
        job.await_step(steps_done(trial.run_dir) + trial.rng.randrange(3, 15))
        time.sleep(trial.rng.random() * 0.02)
        done = steps_done(trial.run_dir)
        ask(job)
        stopped_and_saved(trial, job, done, what)
    trial.resume()


def stopped_and_saved(trial, job, done, what):
    code = job.wait()
    if code != 75:
        raise Failure(f"EXIT: {what}: {code}, expected 75: {job.last_words()}")
    saved = (checkpoints(trial.run_dir) or [0])[-1]
    if done - saved > 1:
        raise Failure(f"{what}: {done} steps were done, {saved} are saved")
    trial.check_clean()


def asked_while_data_is_late(trial):
    """A read that takes 3 s, on one rank or both: heard all the same."""
    longest = 0.0
    for rank in (0, -1):
        step = steps_done(trial.run_dir) + trial.rng.randrange(8, 16)
        job = trial.start(faults=[fault("data.read", "delay", step=step, rank=rank, seconds=3)])
        job.await_text("planned fault: delay at data.read")
        time.sleep(trial.rng.random())
        at = job.signal(signal.SIGTERM)
        stopped_and_saved(trial, job, steps_done(trial.run_dir), "SIGTERM while data is late")
        longest = max(longest, time.time() - at)
    trial.note(f"stopped within {longest:.1f} s")
    oracles.within("the end after SIGTERM", longest, 8 * trial.slack)
    trial.resume()


def asked_in_start_up(trial):
    """SIGHUP to the launcher, SIGTERM to a rank, before the first step. A rank may not be ready to hear it: then it is
    dead, and the job goes on."""
    codes = []
    for number, target in ((signal.SIGHUP, "launcher"), (signal.SIGTERM, "rank")):
        job = trial.start(faults=[pace(0.02)])
        pid = job.rank(trial.rng.randrange(2))
        time.sleep(trial.rng.random() * 0.5)
        try:
            job.signal(number, pid if target == "rank" else None)
        except ProcessLookupError:
            pass
        codes.append(job.expect(75, 0))
        trial.check_clean()
    if codes[0] != 75:
        raise Failure(f"EXIT: SIGHUP to the launcher in start-up: {codes[0]}, expected 75")
    trial.note(f"codes {codes}")
    trial.resume()


def grace_too_short(trial):
    """SIGTERM, and SIGKILL of everything before the save can end: each write of it takes a while."""
    newest = []
    for _ in range(3):
        job = trial.start(faults=[fault("ckpt.write", "delay", seconds=0.02, rank=0, count=0), pace(0.02)])
        job.await_step(steps_done(trial.run_dir) + trial.rng.randrange(2, 12))
        job.signal(signal.SIGTERM)
        time.sleep(trial.rng.random() * 0.3)
        trial.mpirun_was_killed = True
        processes.end_all(trial.mark)
        job.expect(-signal.SIGKILL, 75)
        oracles.clean(trial.mark)
        for step in checkpoints(trial.run_dir):
            folder = trial.run_dir / f"checkpoints/step_{step:08}"
            subprocess.run([trial.world.settings.binary, "inspect", folder], check=True, stdout=subprocess.DEVNULL)
        newest.append((checkpoints(trial.run_dir) or [0])[-1])
    trial.note(f"saved steps {newest}")
    trial.resume()


CASES = [
    Case("A2.trace", "a crash prints its backtrace", backtrace),
    Case("A3", "exit(0) in the middle of a run", exits_early),
    Case("A3.start", "a rank exits in start-up", exits_in_start_up),
    Case("A5", "too little address space", too_little_memory, long=True),
    Case("A9.ranks", "SIGTERM to ranks, SIGHUP to the launcher", asked_at_ranks),
    Case("A9.data", "SIGTERM while data is late", asked_while_data_is_late),
    Case("A9.start", "signals in start-up", asked_in_start_up),
    Case("A10", "SIGKILL soon after SIGTERM", grace_too_short, long=True),
]
