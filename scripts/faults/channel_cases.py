"""B7, B9: what comes from outside: host files, and strangers at the port where ranks find the launcher."""
import hashlib
import hmac
import json
import os
import select
import signal
import socket
import time

from faults import oracles, processes
from faults.case import Case
from faults.oracles import Failure
from faults.world import STEPS, pace, steps_done

# Text of a host file, and what stands in the line that refuses it. `np` is 2.
BAD_HOST_FILES = [
    ("# nothing\n", "hosts", "no host"),
    ("localhost\n", "hosts:1", "slots"),
    ("\nlocalhost slots=0\n", "hosts:2", "slots"),
    ("localhost slots=2x\n", "hosts:1", "slots"),
    ("localhost slots=2\n\nlocalhost slots=1\n", "hosts:3", "line 1"),
    ("localhost slots=2 sp are\n", "hosts:1", "'sp'"),
    ("-oProxyCommand=touch slots=2\n", "hosts:1", "name"),
    ("$(touch${IFS}x) slots=2\n", "hosts:1", "name"),
    ("localhost slots=1\n", "hosts", "2"),
    ("nor-this.invalid slots=1\nno-such-host.invalid slots=1\n", "hosts:1", "nor-this.invalid"),
    ("nor-this.invalid slots=1\nno-such-host.invalid slots=1\n", "hosts:2", "no-such-host.invalid"),
    (None, "hosts", ""),
]


def bad_host_files(trial):
    for number, (text, *_) in enumerate(BAD_HOST_FILES):  # all at the same time
        hosts = trial.folder / str(number) / "hosts"
        hosts.parent.mkdir()
        if text is not None:
            hosts.write_text(text)
        trial.start("--hosts", hosts)
    for number, (job, (text, *parts)) in enumerate(zip(list(trial.jobs), BAD_HOST_FILES)):
        job.expect(2)
        try:
            oracles.message(job.output().replace(f"{trial.folder}/{number}/", ""), *parts)
        except Failure as failure:
            raise Failure(f"{failure}, for the host file {text!r}: {job.last_words()}") from None
    if trial.run_dir.exists():
        raise Failure("a refused launcher made the folder of the run")
    trial.check_clean()
    trial.note(f"{len(BAD_HOST_FILES)} files refused")


# ---- the port

CONNECTS = 10_000  # by strangers who say nothing


class Stranger:
    """A connection that does not belong to the job."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=10)

    def send(self, data):
        """Until it is sent, or the other side has closed."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def line(self):
        """The next one, or what came before the end."""
        data = b""
        try:
            while not data.endswith(b"\n") and (byte := self.socket.recv(1)):
                data += byte
        except OSError:
            pass
        return data

    def closed(self, within):
        """Whether the other side has closed it; what it still says is read away."""
        end = time.monotonic() + within
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                return False
            try:
                if not self.socket.recv(4096):
                    return True
            except OSError:
                return True
        return False

    def close(self):
        self.socket.close()


def join_line(token, launcher_nonce, rank):
    """What a rank answers to the launcher's first line."""
    identity = {"config": "0", "host": "stranger", "pid": os.getpid(), "program": "0", "rank": rank, "size": 2}
    rest = json.dumps({"join": identity, "nonce": os.urandom(32).hex(), "v": 1}, separators=(",", ":"))[1:]
    mac = hmac.new(bytes.fromhex(token), f"triptych join {launcher_nonce} {rest}".encode(), hashlib.sha256)
    return f'{{"mac":"{mac.hexdigest()}",{rest}\n'.encode()


def garbage(address, rng):
    """Each is cut off, or says nothing for ever and is cut off later."""
    for data in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", bytes(rng.randrange(256) for _ in range(5000)), b"\n" * 99,
                 b'{"mac":"' + b"0" * 64 + b'","join":{},"v":1}\n', b"{" * 100_000, b"x" * 4_000_000):
        stranger = Stranger(address)
        stranger.send(data)
        stranger.close()


def replayed_join(address, token):
    """Our join line is right (of a rank that is there already: refused in words). A second time it proves nothing."""
    first = Stranger(address)
    line = join_line(token, json.loads(first.line())["nonce"], rank=0)
    first.send(line)
    answer = first.line()
    if b'"refused"' not in answer:
        raise Failure(f"a join of rank 0 that came second was answered by {answer!r}")
    second = Stranger(address)
    json.loads(second.line())
    second.send(line)
    if second.line() != b"":
        raise Failure("a join line that was said again was answered")
    forged = Stranger(address)
    forged.send(join_line("00" * 32, json.loads(forged.line())["nonce"], rank=0))
    if forged.line() != b"":
        raise Failure("a join line under another token was answered")
    for stranger in (first, second, forged):
        stranger.close()


def slow_senders(address, slack):
    """Say nothing, or a byte now and then. All are cut off, each within seconds."""
    strangers = [Stranger(address) for _ in range(20)]
    begin = time.monotonic()
    for _ in range(3):
        for stranger in strangers[::2]:
            stranger.send(b"{")
        time.sleep(0.3)
    for stranger in strangers:
        if not stranger.closed(max(0.1, begin + 4 * slack - time.monotonic())):
            raise Failure("a stranger who says nothing keeps the connection")
        stranger.close()


def strangers(trial):
    job = trial.start(faults=[pace(3)])  # they take what time they take
    job.await_step(3)
    env = processes.environment(job.rank(0))
    host, _, port = env["TRIPTYCH_CONTROL"].rpartition(":")
    address = host, int(port)
    open_before = processes.descriptors(job.process.pid)
    begin = time.monotonic()
    garbage(address, trial.rng)
    replayed_join(address, env["TRIPTYCH_JOB_TOKEN"])
    for _ in range(CONNECTS):
        Stranger(address).close()
    slow_senders(address, trial.slack)
    trial.note(f"{time.monotonic() - begin:.1f} s of strangers, done at step {steps_done(trial.run_dir)}")
    if job.process.poll() is not None:
        raise Failure(f"the run was over before the strangers were: {job.last_words()}")
    more = processes.descriptors(job.process.pid) - open_before
    if more > 2:
        raise Failure(f"the launcher holds {more} descriptors more than before")
    if env["TRIPTYCH_JOB_TOKEN"] in job.output() or env["TRIPTYCH_JOB_TOKEN"] in json.dumps(job.events()):
        raise Failure("the job's token was printed")
    for pid in processes.marked(trial.mark):
        if env["TRIPTYCH_JOB_TOKEN"] in processes.command(pid):
            raise Failure(f"the job's token is on the command line of {processes.name(pid)}")
    job.signal(signal.SIGTERM)
    job.expect(75)
    if job.own_events("fault"):
        raise Failure(f"a stranger broke it: {job.own_events('fault')[0]}")
    trial.resume()


# ---- two launchers, and the diary

def second_launcher(trial):
    job = trial.start(faults=[pace(0.1, count=60)])
    job.await_step(4)
    second = trial.start()
    second.expect(2)
    oracles.message(second.output(), "another launcher", str(job.process.pid))
    if job.process.poll() is not None:
        raise Failure("the first launcher ended before the second one")
    trial.finish(job)
    launches = [event for event in job.events() if event["event"] == "launch"]
    if len(launches) != 1:
        raise Failure(f"the journal has {len(launches)} launchers: the second wrote into that of the first")


def continued_journal(trial):
    first = trial.start()
    first.await_step(20)
    first.signal(signal.SIGTERM)
    first.expect(75)
    trial.finish(trial.start())
    events = first.events()
    if [e["code"] for e in events if e["event"] == "end"] != [75, 0]:
        raise Failure("the journal lacks the ends of both launchers")
    told = trial.launches()
    if (told["launchers"], told["last_step"], told["end_code"], told["bad_lines"]) != (2, STEPS, 0, 0):
        raise Failure(f"inspect says {told}")
    if not 0 < told["goodput"] <= 1:
        raise Failure(f"a goodput of {told['goodput']}")
    trial.note(f"goodput {told['goodput']:.2f}")
    if not any(event["event"] == "checkpoint" for event in events):
        raise Failure("the journal names no checkpoint")


CASES = [
    Case("B7", "bad host files", bad_host_files),
    Case("B9", "strangers at the launcher's port", strangers),
    Case("C13", "a second launcher in the same folder", second_launcher),
    Case("E.journal", "one journal over two launchers, and its goodput", continued_journal),
]
