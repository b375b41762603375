"""A very small run, its uninterrupted twin, and one start of the launcher."""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import time

from faults import oracles, processes
from faults.oracles import Failure

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS, SHARDS_STEPS = 80, 40
GLOBAL_BATCH = 24

# By name, what they extend and say. The second gives the same bits on any number of ranks; its steps are slow on few cores.
CONFIGS = {
    "plain": ("run", """
model: {text: {width: 8}}
train: {threads: 1}
checkpoint: {every: {steps: 5}}
log: {ledger: true, tensorboard: false}
"""),
    "shards": ("plain", f"""
train: {{micro_batch: 0}}
schedule: {{total: {{steps: {SHARDS_STEPS}}}}}
distributed: {{virtual_shards: 12}}
"""),
    "guard": ("plain", "\ntrain: {verify_every: {steps: 4}}\n"),
}
RANKS = {"guard": 3}  # of the uninterrupted run; else 2


def soak_resume():
    """The module: its corpora and configuration are ours too."""
    loader = importlib.machinery.SourceFileLoader("soak_resume", str(ROOT / "scripts/soak_resume"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("soak_resume", loader))
    loader.exec_module(module)
    return module


def environment(mark, folder):
    """Of every start: no faults but those planned here, and one thread for each rank."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRIPTYCH_", "OMPI_", "PMIX_"))}
    (folder / "tmp").mkdir(exist_ok=True)
    return dict(kept, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive", TRIPTYCH_ASSETS=str(ROOT / "assets"),
                TMPDIR=str(folder / "tmp"), **{processes.MARK: mark})


def steps_done(run_dir):
    try:
        return (run_dir / "steps.jsonl").read_bytes().count(b"\n")
    except OSError:
        return 0


def checkpoints(run_dir):
    """Steps of the complete ones, sorted."""
    return sorted(int(path.parent.name[5:]) for path in run_dir.glob("checkpoints/step_*[0-9]/manifest.json"))


class World:
    """What all cases share: corpora, configurations, runs that nothing happened to."""

    def __init__(self, settings, folder):
        self.settings, self.folder = settings, folder
        self._references = {}
        soak = soak_resume()
        soak.make_corpora(folder)
        soak.write_config(folder, STEPS)
        for name, (below, text) in CONFIGS.items():
            self.config(name).write_text(f"extends: {below}.yaml{text}")

    def config(self, name):
        return self.folder / f"{name}.yaml"

    def longer_config(self, name, steps, save_every):
        """The plain run with another number of steps."""
        self.config(name).write_text(f"extends: plain.yaml\nschedule: {{total: {{steps: {steps}}}}}\n"
                                     f"checkpoint: {{every: {{steps: {save_every}}}}}\nlog: {{every: {{steps: 100}}}}\n")

    def reference(self, config):
        """Folder of the uninterrupted run, made under mpirun alone when first asked for."""
        run_dir = self.folder / f"whole-{config}"
        if config not in self._references:
            root = dict(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1") if os.geteuid() == 0 else {}
            env = dict(environment(str(run_dir), self.folder), **root)
            words = [self.settings.mpirun, "-np", str(RANKS.get(config, 2)), "--bind-to", "none", "--oversubscribe", "--mca",
                     "mpi_yield_when_idle", "1", self.settings.binary, "train", self.config(config), "--run-dir", run_dir]
            with open(self.folder / f"whole-{config}.log", "wb") as log:
                code = subprocess.run(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env).returncode
            self._references[config] = code
        if self._references[config] != 0:
            raise Failure(f"the uninterrupted run ended with {self._references[config]}: {run_dir}.log")
        return run_dir


class Job:
    """One start of `triptych launch`. Options of the launcher are words; `enter` is put before the program."""

    def __init__(self, trial, *options, config="plain", ranks=2, faults=(), enter=(), train=(), output=None):
        self.trial, self.run_dir = trial, trial.run_dir
        self.limit = trial.world.settings.limit
        number = len(trial.jobs)
        self.log_path = trial.folder / f"launch-{number}.log"
        env = environment(trial.mark, trial.folder)
        self.plan = trial.folder / f"faults-{number}.json"
        if faults:
            self.plan.write_text(json.dumps(list(faults)))
            env["TRIPTYCH_FAULTS"] = str(self.plan)
        words = [*enter, trial.world.settings.binary, "launch", *(["--np", ranks] if ranks else []), *options, "--",
                 "train", trial.world.config(config), "--run-dir", self.run_dir, *train]
        self.started = time.time()
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL,
                                            stdout=output or log, stderr=output or log, env=env, start_new_session=True,
                                            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))

    def no_more_faults(self):
        """Ranks that start from now on read an empty plan."""
        self.plan.write_text("[]")

    # ---- what it says

    def output(self):
        return self.log_path.read_text(errors="replace")

    def events(self):
        """Of the journal, over all starts in this folder."""
        try:
            return oracles.read_journal((self.run_dir / "launch.jsonl").read_bytes())
        except FileNotFoundError:
            return []

    def own_events(self, kind):
        return [e for e in self.events() if e["event"] == kind and oracles.moment(e) >= self.started - 0.005]

    # ---- who it is

    def ranks(self):
        """Process id of each rank that runs."""
        found = {}
        for pid in processes.marked(self.trial.mark):
            env = processes.environment(pid)
            if "OMPI_COMM_WORLD_RANK" in env and processes.name(pid) == "triptych":
                found[int(env["OMPI_COMM_WORLD_RANK"])] = pid
        return found

    def mpirun(self):
        for pid in processes.marked(self.trial.mark):
            if processes.parent(pid) == self.process.pid and processes.name(pid) in ("mpirun", "orterun"):
                return pid
        raise Failure("there is no mpirun below the launcher")

    def rank(self, number):
        self.until(lambda: number in self.ranks(), f"rank {number} to start")
        return self.ranks()[number]

    # ---- waiting

    def until(self, holds, what):
        """Waits while the launcher runs."""
        end = time.monotonic() + self.limit
        while not holds():
            ended = self.process.poll()
            if ended is not None and not holds():
                raise Failure(f"the launcher ended with {ended}, while this waited for it {what}: {self.last_words()}")
            if time.monotonic() > end:
                raise Failure(f"waited {self.limit:g} s in vain for it {what}: {self.last_words()}")
            time.sleep(0.004)

    def await_step(self, step):
        self.until(lambda: steps_done(self.run_dir) >= step, f"to do step {step}")

    def await_text(self, text):
        self.until(lambda: text in self.output(), f"to say {text!r}")

    def signal(self, number, pid=None):
        """To a process of it, or the launcher. When, in seconds since 1970."""
        at = time.time()
        os.kill(pid or self.process.pid, number)
        return at

    def wait(self):
        try:
            return self.process.wait(self.limit)
        except subprocess.TimeoutExpired:
            raise Failure(f"EXIT: still there after {self.limit:g} s: {self.last_words()}") from None

    def expect(self, *codes):
        """Waits for its end, with one of these codes."""
        code = self.wait()
        try:
            oracles.exit_code(code, *codes)
        except Failure as failure:
            raise Failure(f"{failure}: {self.last_words()}") from None
        return code

    def last_words(self):
        lines = [line for line in self.output().splitlines() if "launch" in line or "error" in line.lower()]
        return " / ".join(lines[-3:])[-600:] or "it said nothing"

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def fault(point, action, step=-1, rank=-1, **more):
    """An entry of a plan of faults."""
    return {"rank": rank, "step": step, "point": point, "action": action, **more}


def pace(seconds, rank=0, count=0):
    """Makes every step, or so many, last at least so long."""
    return fault("opt", "delay", rank=rank, seconds=seconds, count=count)
