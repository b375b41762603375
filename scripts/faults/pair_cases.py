"""A8, B, C, D, G: more of two hosts, with one or two ranks in all: these runs are short."""
import pathlib
import shutil
import signal
import socket
import time

from faults import hosts, oracles, processes
from faults.case import Case
from faults.oracles import Failure
from faults.host_cases import blames, two_hosts
from faults.world import STEPS, pace, steps_done

ONE_EACH = ("{near} slots=1", "{far} slots=1")
OTHER_ORDER = ("{far} slots=1", "{near} slots=1")


def start(trial, pair, *options, lines=ONE_EACH, **more):
    return trial.start(*pair.options(*lines), *options, enter=pair.enter(), **more)


@two_hosts
def daemon_dies(trial, pair):
    job = start(trial, pair, faults=[pace(0.03)])
    job.await_step(trial.rng.randrange(6, 40))
    daemons = [pid for pid in pair.far_processes() if processes.name(pid) == "orted"]
    if len(daemons) != 1:
        raise Failure(f"{len(daemons)} daemons on {pair.far}, expected 1")
    trial.mpirun_was_killed = True
    at = job.signal(signal.SIGKILL, daemons[0])
    blames(trial.recovered(job, at, detection=2, recovery=15), pair)
    trial.finish(job)


@two_hosts
def spare_host(trial, pair):
    """Two faults on one host: it is left out, and the spare one takes its ranks."""
    job = start(trial, pair, "--max-restarts", 5, lines=("{far} slots=2", "{near} slots=2 spare"), faults=[pace(0.03)])
    for first in (5, 30):
        job.await_step(trial.rng.randrange(first, first + 15))
        rank, pid = trial.rng.choice(sorted(job.ranks().items()))
        blames(trial.recovered(job, job.signal(signal.SIGKILL, pid), rank=rank, recovery=15), pair)
    trial.finish(job)
    places = [event["hosts"] for event in job.own_events("start")]
    if places != [[pair.far], [pair.far], [pair.near]]:
        raise Failure(f"started on {places}, expected {pair.far} twice, then {pair.near}")


@two_hosts
def other_order(trial, pair):
    """Rank 0 on the second host, then on the first, and neither changes a bit."""
    job = start(trial, pair, lines=OTHER_ORDER, faults=[pace(0.03)])
    job.await_step(trial.rng.randrange(10, 50))
    oracles.message(job.output(), f"{pair.far}:0 | ")
    trial.stop(job)
    again = start(trial, pair)
    trial.finish(again)
    oracles.message(again.output(), f"{pair.near}:0 | ")


@two_hosts
def other_config(trial, pair):
    other = trial.folder / "other-config"
    shutil.copy(trial.world.config("plain"), other)
    with open(other, "a") as file:
        file.write("optimizer: {lr: 0.5}\n")
    job = start(trial, pair)
    job.expect(2)
    oracles.message(job.output(), "hosts:2", pair.far, "configuration differs")
    if trial.run_dir.exists():
        raise Failure("a refused job made its folder")
    trial.check_clean()


@two_hosts
def half_open(trial, pair):
    """What the far rank is sent by other ranks does not arrive; its way to the launcher stands."""
    hang = 5
    job = start(trial, pair, "--hang", hang, faults=[pace(0.03)])
    job.await_step(trial.rng.randrange(10, 50))
    at = drop_data(job, pair, "drop")
    trial.recovered(job, at, kind=("hang",), detection=hang + 3, recovery=hang + 12)
    pair.filter()
    trial.finish(job)


@two_hosts
def reset_connection(trial, pair):
    """Data connections of the far rank end in the middle."""
    job = start(trial, pair, faults=[pace(0.03)])
    job.await_step(trial.rng.randrange(10, 50))
    at = drop_data(job, pair, "reject with tcp reset")
    trial.recovered(job, at, detection=12, recovery=22)
    pair.filter()
    trial.finish(job)


def drop_data(job, pair, verdict):
    """When, in seconds since 1970."""
    ports = pair.far_data_ports()
    if not ports:
        raise Failure(f"no data connection of the ranks on {pair.far} is known")
    pair.filter(*[f"tcp dport {port} {verdict}" for port in ports])
    job.trial.note(f"{len(ports)} connections")
    return time.time()


@two_hosts
def other_clock(trial, pair):
    """The far host is a day ahead."""
    (trial.folder / "other-clock").write_text("+1d")
    job = start(trial, pair, faults=[pace(0.03)])
    job.await_step(trial.rng.randrange(10, 50))
    if not processes.has_mapped(job.rank(1), "libfaketime") or processes.has_mapped(job.rank(0), "libfaketime"):
        raise Failure("CTRL: not the far rank alone has another clock")
    trial.recovered(job, job.signal(signal.SIGKILL, job.rank(0)), rank=0, recovery=15)
    trial.finish(job)


@two_hosts
def stale_view(trial, pair):
    """The far host sees an empty folder of the run, as by a late NFS: what is in it, rank 0 tells."""
    trial.run_dir.mkdir()
    (trial.folder / "stale-run").touch()
    job = start(trial, pair, faults=[pace(0.03)])
    job.await_step(trial.rng.randrange(10, 50))
    trial.recovered(job, job.signal(signal.SIGKILL, job.rank(0)), rank=0, recovery=15)
    trial.finish(job)


# What a shell would do with it: the name of a folder, of a configuration, and a value.
HOSTILE = "a $(touch harm) `touch harm`; touch harm & ' \" \\ %h"


@two_hosts
def hostile_names(trial, pair):
    """No shell between here and the ranks ever reads a name or a value."""
    trial.run_dir = trial.folder / HOSTILE
    trial.world.config(HOSTILE).write_text("extends: plain.yaml\n")
    job = start(trial, pair, config=HOSTILE, train=["--set", f"run.name='{HOSTILE.replace(chr(39), '')}\n'"])
    job.await_step(10)
    trial.recovered(job, job.signal(signal.SIGKILL, job.rank(1)), rank=1, recovery=15)
    trial.finish(job)
    oracles.message(job.output(), f"done: step {STEPS} of {STEPS} in {trial.run_dir}")
    harmed = [str(place) for place in (pathlib.Path.cwd(), pathlib.Path.home(), trial.folder, trial.world.folder) if (place / "harm").exists()]
    if harmed:
        raise Failure(f"a shell has read a name: there is 'harm' in {', '.join(harmed)}")


@two_hosts
def no_way(trial, pair):
    """A network that is not there, a port that is taken, a host that does not answer: refused before anything starts."""
    options = pair.options(*ONE_EACH)
    other_network = [*options[:options.index("--interface")], "--interface", "10.99.0.0/16"]
    refused(trial, trial.start(*other_network, enter=pair.enter()), "10.99.0.0/16")
    pair.link("down")
    refused(trial, start(trial, pair), "hosts:2", pair.far)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(trial, trial.start("--monitor", port), str(port))


def refused(trial, job, *parts):
    job.expect(2)
    oracles.within("the refusal", time.time() - job.started, 30 * trial.slack)
    oracles.message(job.output(), *parts)
    if trial.run_dir.exists():
        raise Failure(f"a refused job made its folder: {job.last_words()}")
    trial.check_clean()


def impaired(spoil, mend):
    """Of a link between two hosts, which both are given."""
    @two_hosts
    def run(trial, pair):
        """For some steps. Slower, and nothing else."""
        job = start(trial, pair)
        job.await_step(trial.rng.randrange(8, 30))
        spoil(pair)
        before, at = steps_done(trial.run_dir), time.time()
        job.until(lambda: time.time() - at > 4 and steps_done(trial.run_dir) > before, "to go on over the bad link")
        trial.note(f"{steps_done(trial.run_dir) - before} steps in {time.time() - at:.1f} s")
        mend(pair)
        trial.finish(job)
        if job.own_events("fault"):
            raise Failure(f"a bad link was taken for a fault: {job.own_events('fault')[0]['text']}")
    return run


def shaped(*words):
    return impaired(lambda pair: pair.shape(*words), lambda pair: pair.shape("none"))


LOSSES = impaired(lambda pair: pair.filter("numgen random mod 100 < 20 drop"), lambda pair: pair.filter())

CASES = [
    Case("A8.orted", "kill -9 of Open MPI's daemon on a host", daemon_dies, needs=hosts.missing),
    Case("B3.delay", "100 ms and more between hosts", shaped("netem", "delay", "100ms", "20ms"), needs=hosts.missing_delays),
    Case("B3", "what ranks send to a host is dropped, all else arrives", half_open, needs=hosts.missing_filters),
    Case("B4", "20 % of packets are lost", LOSSES, needs=hosts.missing_filters),
    Case("B5", "connections between ranks are reset", reset_connection, needs=hosts.missing_filters),
    Case("B10", "a host is a day ahead", other_clock, needs=lambda: hosts.missing() or hosts.missing_clock()),
    Case("B4.rate", "20 Mbit/s between hosts", shaped("tbf", "rate", "20mbit", "burst", "64kb", "latency", "1s"),
         long=True, needs=hosts.missing),
    Case("B6", "wrong network, taken port, a host without a link", no_way, needs=hosts.missing),
    Case("B7.order", "hosts in another order, and in another again", other_order, needs=hosts.missing),
    Case("B8.config", "a host has another configuration", other_config, needs=hosts.missing),
    Case("C12", "a host sees nothing in the folder of the run", stale_view, needs=hosts.missing),
    Case("G3", "names and values that a shell would run", hostile_names, needs=hosts.missing),
    Case("D.spare", "a host breaks twice: a spare one takes its ranks", spare_host, needs=hosts.missing),
]
