"""A13, I1: hours of faults, and very many steps."""
import signal
import time

from faults import oracles, processes
from faults.case import Case
from faults.oracles import Failure
from faults.world import pace, steps_done

PAUSE, STEP = 0.15, 0.18  # seconds: of all ranks in each step, and of a step with its work


def many_kills(trial):
    """kill -9 of random ranks, at exponentially distributed distances. Pauses make the run as long as the kills."""
    kills, mean = trial.world.settings.kills, trial.world.settings.mean
    steps = max(100, int(kills * mean / STEP))  # more than the kills leave time for
    trial.world.longer_config("soak", steps, save_every=1)
    trial.world.reference("soak")  # without pauses: bits do not know time
    paced = [pace(PAUSE, rank=-1)]
    # Random kills strike one step three times now and then: that says nothing of its samples.
    job = trial.start("--max-restarts", 1_000_000, "--same-step", 1000, config="soak", faults=paced)
    begin, made = time.time(), 0
    while job.process.poll() is None and made < kills:
        time.sleep(trial.rng.expovariate(1 / mean))
        ranks = sorted(job.ranks().values())
        if ranks and job.process.poll() is None:
            job.signal(signal.SIGKILL, trial.rng.choice(ranks))
            made += 1
            if made % 50 == 0:
                print(f"  {made} kills in {time.time() - begin:.0f} s, step {steps_done(trial.run_dir)} of {steps}", flush=True)
    told = trial.launches()  # of the time with kills
    job.limit = 10 + 2 * steps * STEP * trial.slack
    trial.finish(job, "soak")
    trial.note(f"{made} kills in {time.time() - begin:.0f} s, {steps} steps, goodput {told['goodput']:.3f}, "
               f"found in {told['mean_detection_s']:.2f} s, a step after {told['mean_recovery_s']:.2f} s in the mean")
    least = 1 - 0.1 * trial.slack
    if told["goodput"] < least:
        raise Failure(f"goodput below {least:.2f}: " + trial.notes[-1])
    if made < kills:
        raise Failure("the run was over before all kills were made: " + trial.notes[-1])


def many_steps(trial):
    """No growth of memory or descriptors in launcher and ranks; how fast steps were at the begin and the end."""
    steps = trial.world.settings.steps
    trial.world.longer_config("long", steps, save_every=1000)
    job = trial.start(config="long")
    job.limit = 60 + steps * 0.2 * trial.slack
    job.await_step(min(1000, steps // 10))  # allocators have seen everything once
    watched = {"launcher": job.process.pid, "rank 0": job.rank(0), "rank 1": job.rank(1)}
    samples = {name: [] for name in watched}
    while job.process.poll() is None:
        now = time.monotonic()
        for name, pid in watched.items():
            if memory := processes.memory(pid):
                samples[name].append((now, memory, processes.descriptors(pid), steps_done(trial.run_dir)))
        time.sleep(max(0.5, min(5.0, steps / 20_000)))
    job.expect(0)
    trial.check_clean()
    oracles.once(trial.records("ledger.jsonl"))
    for name, rows in samples.items():
        check_growth(trial, name, rows)
    rows = samples["rank 0"]
    tenth = len(rows) // 10
    first, last = ((part[-1][3] - part[0][3]) / (part[-1][0] - part[0][0]) for part in (rows[:tenth], rows[-tenth:]))
    trial.note(f"{first:.1f} steps a second in the first tenth, {last:.1f} in the last")


def check_growth(trial, name, rows):
    if len(rows) < 20:
        raise Failure(f"{len(rows)} samples of {name}: too few; take more --steps")
    tenth = max(1, len(rows) // 10)

    def middle(part, column):
        return sorted(row[column] for row in part)[len(part) // 2]
    grown = middle(rows[-tenth:], 1) / middle(rows[:tenth], 1) - 1
    per_hour = oracles.slope([(row[0], row[1]) for row in rows]) * 3600 / rows[0][1]
    opened = middle(rows[-tenth:], 2) - middle(rows[:tenth], 2)
    trial.note(f"{name}: {rows[-1][1] >> 20} MiB, {100 * grown:+.2f} % ({100 * per_hour:+.2f} %/h), {opened:+d} descriptors")
    if grown > 0.02 or opened > 2:
        raise Failure(f"{name} grows: " + trial.notes[-1])


CASES = [
    Case("A13", "many random kills", many_kills, long=True),
    Case("I1", "very many steps", many_steps, long=True),
]
