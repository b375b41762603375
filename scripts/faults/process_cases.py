"""A: processes that die, hang, are slow or pause, and readers that go."""
import fcntl
import os
import shutil
import signal
import subprocess
import time

from faults import oracles, processes
from faults.case import Case
from faults.oracles import Failure
from faults.world import GLOBAL_BATCH, STEPS, checkpoints, fault, pace, steps_done

F_SETPIPE_SZ = 1031
GONE_WITHIN = 12.0  # seconds until ranks without a launcher have left


def kill_rank(trial):
    job = trial.start("--max-restarts", 5)
    for first in (4, 26, 48):
        job.await_step(trial.rng.randrange(first, first + 18))
        time.sleep(trial.rng.random() * 0.03)
        rank, pid = trial.rng.choice(sorted(job.ranks().items()))
        at = job.signal(signal.SIGKILL, pid)
        found = trial.recovered(job, at, kind=("rank_gone",), rank=rank)
        oracles.message(job.output(), f"rank {rank} on {found['host']}", "is gone", "step ", f"process {pid}")
    trial.finish(job)


def dies_again(trial):
    """A plan strikes again after each start: the third without progress ends it, and names the batch's samples."""
    step = 12
    job = trial.start("--max-restarts", 5, faults=[fault("fwd", "segv", step=step, rank=1)])
    job.expect(139)
    trial.check_clean()
    starts = len(job.own_events("start"))
    if starts not in (3, 4):  # what the first start did is told late, and may count as progress of the second
        raise Failure(f"{starts} starts, expected three without progress")
    first = (step - 1) * GLOBAL_BATCH
    oracles.message(job.output(), "times without a new step", f"step {step} ", f"[{first}, {first + GLOBAL_BATCH})")
    oracles.message(job.output(), f"step {step}", "texts ", ".tar", "labels ")  # its records, with shard and key
    blames_rank(job, 1)
    trial.resume()


def planned_death(action, code):
    def run(trial):
        """Without restarts: the code of the cause."""
        job = trial.start("--max-restarts", 0, faults=[fault("opt", action, step=12, rank=1)])
        job.expect(code)
        trial.check_clean()
        blames_rank(job, 1)
        trial.resume()
    return run


def blames_rank(job, rank):
    """MSG: the first fault of the journal, and a line of the output, name it."""
    found = job.own_events("fault")[0]
    if found["rank"] != rank:
        raise Failure(f"MSG: blamed {found}")
    oracles.message(job.output(), f"rank {rank} on {found['host']}", "step ")


def stopped_rank(trial):
    job = trial.start()
    job.await_step(trial.rng.randrange(15, 40))
    rank = trial.rng.randrange(2)
    at = job.signal(signal.SIGSTOP, job.rank(rank))
    found = trial.recovered(job, at, kind=("hang",), rank=rank, detection=15, recovery=25)
    oracles.message(job.output(), f"rank {rank} on {found['host']} is stopped", "step ")
    trial.finish(job)


def spinning_rank(trial):
    job = trial.start("--hang", 5, "--max-restarts", 0, faults=[fault("bwd", "spin", step=20, rank=1)])
    job.await_text("planned fault: spin")
    at = time.time()
    job.expect(5)
    trial.detections.append(oracles.timing(job.events(), at)[0])
    oracles.within("found", trial.detections[0], 10 * trial.slack)
    found = job.own_events("fault")[0]
    if found["kind"] != "hang" or found["rank"] != 1:
        raise Failure(f"MSG: blamed {found}")
    oracles.message(found["text"], "rank 1 on ", "step ")
    stack = found["text"].partition("stack of rank 1 on ")[2].splitlines()[1:]
    if len([line for line in stack if line.strip()]) < 3:
        raise Failure(f"MSG: no stack of rank 1 in {found['text']!r}")
    trial.check_clean()
    trial.resume()


def no_false_alarm(trial):
    slow = [fault("fwd", "delay", step=8, rank=1, seconds=3), fault("eval", "delay", step=22, rank=0, seconds=12)]
    job = trial.start("--hang", 10, faults=slow)
    job.await_step(45)  # far from the slow step: one odd step in ten is nobody's fault
    pid = job.rank(1)
    job.signal(signal.SIGSTOP, pid)
    time.sleep(4)
    job.signal(signal.SIGCONT, pid)
    trial.finish(job)
    alarms = job.own_events("fault") + job.own_events("restart")
    if alarms or len(job.own_events("start")) != 1:
        raise Failure(f"a false alarm: {alarms}")
    trial.note(f"{len(job.own_events('warning'))} warnings")


def kill_mpirun(trial):
    job = trial.start()
    job.await_step(trial.rng.randrange(10, 50))
    old = sorted(job.ranks().values())
    trial.mpirun_was_killed = True
    at = job.signal(signal.SIGKILL, job.mpirun())
    job.until(lambda: not any(map(processes.alive, old)), "to lose the ranks of the killed mpirun")
    oracles.within("ranks without mpirun gone", time.time() - at, GONE_WITHIN * trial.slack)
    trial.recovered(job, at)
    trial.finish(job)


def kill_launcher(trial):
    job = trial.start()
    job.await_step(trial.rng.randrange(10, 50))
    trial.mpirun_was_killed = True  # by the kernel, when its parent is
    at = job.signal(signal.SIGKILL)
    job.expect(-signal.SIGKILL)
    oracles.clean(trial.mark, within=GONE_WITHIN * trial.slack)
    trial.note(f"all gone after {time.time() - at:.1f} s")
    trial.resume()


def straggler(trial):
    job = trial.start(faults=[fault("fwd", "delay", rank=1, seconds=0.1, count=150)])
    job.await_step(1)
    first = steps_done(trial.run_dir)
    job.until(lambda: any("times as slow" in e["text"] for e in job.own_events("warning")), "to name the slow rank")
    steps = steps_done(trial.run_dir) - first
    line = oracles.message(job.own_events("warning")[0]["text"], "rank 1 on ", "slows the job", "times as slow")
    oracles.message(job.output(), line)
    trial.note(f"named after {steps} steps: {line[line.find('it is'):].split('(')[0].strip()}")
    if steps > 20 * trial.slack:
        raise Failure(f"TIME: named after {steps} steps, expected at most 20")
    trial.finish(job)


def reader_gone(trial):
    """As with `| head -1`."""
    with subprocess.Popen(["head", "-n", "1"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as head:
        job = trial.start(output=head.stdin, faults=[pace(0.01)])
        head.stdin.close()
        trial.finish(job)


def reader_stalled(trial):
    """A pipe of 4 KiB that nobody reads."""
    read, write = os.pipe()
    try:
        fcntl.fcntl(write, F_SETPIPE_SZ, 4096)
        job = trial.start(output=write, faults=[pace(0.005, rank=-1)])
        trial.finish(job)
        held = os.read(read, 8192)
        if len(held) < 2048:
            raise Failure(f"only {len(held)} bytes were printed: no test of a full pipe")
    finally:
        os.close(read)
        os.close(write)


# ---- A9: asked to stop

def _signal_at(trial, job, moment, number):
    """Sends it at that moment; the steps that were done then."""
    before = steps_done(trial.run_dir)
    if moment == "begin":
        job.until(lambda: processes.name(job.process.pid).startswith("triptych-launch"), "to become the launcher")
        time.sleep(0.03 + trial.rng.random() * 0.3)
    elif moment == "start":
        job.until(lambda: job.own_events("start"), "to start the ranks")
        time.sleep(trial.rng.random())
    elif moment == "steps":
        job.await_step(before + trial.rng.randrange(2, 9))
        time.sleep(trial.rng.random() * 0.02)
    elif moment == "save":
        job.until(lambda: list(trial.run_dir.glob("checkpoints/*.tmp")), "to save")
    elif moment == "evaluation":
        job.await_text("planned fault: delay at eval")
    done = steps_done(trial.run_dir)
    job.signal(number)
    return done


def preempted_often(trial):
    """Fifty moments."""
    for _ in range(8):
        preempted(trial)
        shutil.rmtree(trial.run_dir)
    trial.notes[:] = [f"{len(trial.jobs)} starts; {trial.notes[-1]}"]


def preempted(trial):
    moments = ["start", "steps", "save", "evaluation", "begin", "start", "steps"]
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1] * 3
    trial.rng.shuffle(moments)
    long_evaluations = fault("eval", "delay", seconds=0.4, rank=0, count=0)
    most_lost, longest = 0, 0.0
    for moment, number in zip(moments, numbers):
        what = f"{signal.Signals(number).name} at {moment}"
        job = trial.start(faults=[long_evaluations])
        done = _signal_at(trial, job, moment, number)
        at = time.time()
        code = job.wait()
        longest = max(longest, time.time() - at)
        if code in (-number, 128 + number) and not checkpoints(trial.run_dir) and not job.own_events("start"):
            continue  # nothing was there to be saved
        if code == 0:
            raise Failure(f"{what}: the run was over before it")
        if code != 75:
            raise Failure(f"EXIT: {what}: {code}, expected 75: {job.last_words()}")
        saved = (checkpoints(trial.run_dir) or [0])[-1]
        most_lost = max(most_lost, done - saved)
        if done - saved > 1:
            raise Failure(f"{what}: {done} steps were done, {saved} are saved")
        oracles.message(job.output(), "launch:", signal.Signals(number).name)
        trial.check_clean()
    trial.note(f"at most {max(most_lost, 0)} steps lost, stopped within {longest:.1f} s")
    trial.resume()


def preempted_twice(trial):
    job = trial.start(faults=[fault("fwd", "delay", step=20, seconds=30)])
    job.await_text("planned fault: delay at fwd")
    job.signal(signal.SIGTERM)
    time.sleep(0.5)
    at = job.signal(signal.SIGTERM)
    job.expect(128 + signal.SIGTERM)
    oracles.within("the end after the second signal", time.time() - at, 3 * trial.slack)
    trial.check_clean()
    newest = checkpoints(trial.run_dir)[-1]
    folder = trial.run_dir / f"checkpoints/step_{newest:08}"
    subprocess.run([trial.world.settings.binary, "inspect", folder], check=True, stdout=subprocess.DEVNULL)
    trial.resume()


CASES = [
    Case("A1", "kill -9 of a rank, three times", kill_rank),
    Case("A2.segv", "a rank crashes at the same step again and again", dies_again),
    Case("A2.abort", "a rank aborts", planned_death("abort", 134)),
    Case("A2.throw", "a rank throws", planned_death("throw", 1)),
    Case("A6.stop", "a rank is stopped (SIGSTOP)", stopped_rank),
    Case("A6.spin", "a rank spins inside a step", spinning_rank),
    Case("A7", "no alarm for a pause, a slow step, a long evaluation", no_false_alarm),
    Case("A8.mpirun", "kill -9 of mpirun", kill_mpirun),
    Case("A8.launcher", "kill -9 of the launcher", kill_launcher),
    Case("A9", "SIGTERM, SIGINT, SIGUSR1 at random moments", preempted),
    Case("A9.often", "the same at fifty moments", preempted_often, long=True),
    Case("A9.twice", "a second SIGTERM", preempted_twice),
    Case("A12", "a rank is slow", straggler),
    Case("A14.closed", "who reads the output goes", reader_gone),
    Case("A14.stalled", "who reads the output stops reading", reader_stalled),
]
assert STEPS == 80  # the moments above lie within
