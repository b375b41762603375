"""A8, B, D: two hosts, of which one goes, is cut off, or is another machine than it should be."""
import os
import shutil
import signal
import time

from faults import hosts, oracles, processes
from faults.case import Case
from faults.oracles import Failure
from faults.world import fault, pace, steps_done

# Both ends of a dead connection are known to be so after this long, and a little for the launcher.
CUT_WITHIN = 6.0


def two_hosts(run):
    """Gives `run(trial, pair)` two hosts."""
    def on_hosts(trial):
        with hosts.TwoHosts(trial.folder, trial.world.settings.binary, trial.world.config("plain")) as pair:
            try:
                run(trial, pair)
            finally:
                processes.end_all(trial.mark)  # a namespace lives as long as its processes
    return on_hosts


def start(trial, pair, *options, lines=(), **more):
    more = dict(dict(config="shards", ranks=4), **more)
    return trial.start(*pair.options(*lines), *options, enter=pair.enter(), **more)


def kill_far_host(trial, pair):
    trial.mpirun_was_killed = True  # its daemon there
    at = time.time()
    for pid in pair.far_processes():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return at


def blames(found, pair):
    """MSG: the journal names the far host."""
    if pair.far not in found["host"] + found["text"]:
        raise Failure(f"MSG: {pair.far} is not named: {found['text']}")


@two_hosts
def uninterrupted(trial, pair):
    job = start(trial, pair, faults=[fault("fwd", "delay", step=3, rank=3, seconds=0.01)])
    trial.finish(job, "shards")
    oracles.message(job.output(), f"{pair.far}:3 | ", "planned fault")


@two_hosts
def host_dies(trial, pair):
    job = start(trial, pair)
    job.await_step(trial.rng.randrange(6, 25))
    at = kill_far_host(trial, pair)
    found = trial.recovered(job, at, detection=2, recovery=15)
    blames(found, pair)
    if not any(e["kind"] == "host_gone" and e["host"] == pair.far for e in job.own_events("fault")):
        raise Failure(f"MSG: nobody says that host {pair.far} is gone: {[e['text'] for e in job.own_events('fault')]}")
    trial.finish(job, "shards")


@two_hosts
def link_cut(trial, pair):
    job = start(trial, pair, faults=[pace(0.03)])
    job.await_step(trial.rng.randrange(6, 20))
    pair.link("down")
    at = time.time()
    job.until(lambda: oracles.timing(job.events(), at)[0] is not None, "to see that the link is cut")
    pair.link("up")
    found = trial.recovered(job, at, kind=("link_cut",), detection=CUT_WITHIN, recovery=25)
    blames(found, pair)
    trial.finish(job, "shards")


@two_hosts
def link_flaps(trial, pair):
    job = start(trial, pair, faults=[pace(0.03)])
    job.await_step(trial.rng.randrange(6, 20))
    pair.link("down")
    time.sleep(2)
    pair.link("up")
    before = steps_done(trial.run_dir)
    at = time.time()
    job.until(lambda: steps_done(trial.run_dir) > before + 2, "to go on after two seconds without a link")
    trial.recoveries.append(time.time() - at)
    trial.finish(job, "shards")
    if job.own_events("fault"):
        raise Failure(f"a flap of 2 s was taken for a fault: {job.own_events('fault')[0]['text']}")


@two_hosts
def other_program(trial, pair):
    other = trial.folder / "other-program"
    shutil.copy(trial.world.settings.binary, other)
    with open(other, "ab") as file:
        file.write(b"\n")
    job = start(trial, pair)
    job.expect(2)
    oracles.message(job.output(), "hosts:2", pair.far, "program differs", "xxh64")
    if trial.run_dir.exists():
        raise Failure("a refused job made its folder")
    trial.check_clean()


@two_hosts
def fewer_ranks(trial, pair):
    """The far host dies twice, is left out, and two ranks do what four began."""
    job = start(trial, pair, "--elastic", "2:4", "--max-restarts", 5, ranks=None)
    for first in (5, 18):
        job.await_step(trial.rng.randrange(first, first + 8))
        blames(trial.recovered(job, kill_far_host(trial, pair), detection=2, recovery=20), pair)
    trial.finish(job, "shards")
    went_on_with_two(job, pair)


@two_hosts
def lost_for_good(trial, pair):
    """Its link is cut and stays so."""
    job = start(trial, pair, "--elastic", "2:4", "--max-restarts", 5, ranks=None, faults=[pace(0.03)])
    job.await_step(trial.rng.randrange(6, 20))
    pair.link("down")
    blames(trial.recovered(job, time.time(), detection=CUT_WITHIN, recovery=40), pair)
    trial.finish(job, "shards")
    went_on_with_two(job, pair)


def went_on_with_two(job, pair):
    starts = [(e["ranks"], e["hosts"]) for e in job.own_events("start")]
    if starts[0][0] != 4 or starts[-1] != (2, [pair.near]):
        raise Failure(f"started with ranks and hosts {starts}, expected 4 ranks on both and at last 2 on {pair.near}")


CASES = [
    Case("B0", "two hosts, and nothing happens", uninterrupted, needs=hosts.missing),
    Case("A8.host", "all processes of a host are killed", host_dies, needs=hosts.missing),
    Case("B1", "the link between hosts is cut", link_cut, needs=hosts.missing),
    Case("B2", "the link is down for 2 s", link_flaps, needs=hosts.missing),
    Case("B8", "a host has another program", other_program, needs=hosts.missing),
    Case("D.dies", "a host dies twice: fewer ranks go on", fewer_ranks, needs=hosts.missing),
    Case("D.cut", "a host is lost for good: fewer ranks go on", lost_for_good, needs=hosts.missing),
]
