"""The oracles behind scripts/fault_suite: each is content with a good record and minds every spoiled one."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import types
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from faults import case, checkpoint_edit, hosts, oracles, processes, traces
from faults.oracles import Failure

MARK = processes.MARK


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def steps():
    return [{"step": n, "loss": float(n).hex(), "parameters": f"{n * 7919:016x}"} for n in range(1, 6)]


def samples():
    """Two whole epochs of six records and the begin of a third; record 2 is bad and replaced by record 5."""
    rows = []
    for position in range(15):
        record = position % 6
        rows.append({"epoch": position // 6, "position": position, "corpus": "c", "record": 5 if record == 2 else record,
                     "replacement": record == 2})
    return rows


def event(at, kind, **more):
    return {"time": f"2026-11-23T10:00:{at:06.3f}Z", "uptime_s": at, "event": kind, **more}


def noon(seconds):
    return oracles.moment(event(seconds, "x"))


class Bit(unittest.TestCase):
    def test_the_same_bytes_pass(self):
        oracles.bit(lines(steps()), lines(steps()))

    def test_one_other_digit_is_named_by_line_and_key(self):
        spoiled = steps()
        spoiled[2]["parameters"] = spoiled[2]["parameters"][:-1] + "e"
        with self.assertRaisesRegex(Failure, "BIT.*line 3: parameters"):
            oracles.bit(lines(steps()), lines(spoiled))

    def test_lost_doubled_and_cut_lines(self):
        whole = lines(steps())
        for spoiled in (lines(steps()[:-1]), whole + lines(steps()[-1:]), whole[:-1], whole[:-5], b"", whole.replace(b" ", b"", 1)):
            with self.assertRaisesRegex(Failure, "BIT"):
                oracles.bit(whole, spoiled)

    def test_two_empty_records_prove_nothing(self):
        with self.assertRaisesRegex(Failure, "recorded no step"):
            oracles.bit(b"", b"")


class Once(unittest.TestCase):
    def test_a_good_ledger_passes(self):
        oracles.once(lines(samples()))

    def test_spoiled_ledgers(self):
        good = samples()

        def changed(at, **values):
            return good[:at] + [dict(good[at], **values)] + good[at + 1:]
        spoiled = {
            "a doubled line": (good[:4] + good[3:], "has position 3, expected 4"),
            "a lost line": (good[:4] + good[5:], "has position 5, expected 4"),
            "a lost first line": (good[1:], "has position 1, expected 0"),
            "two lines in the other order": (good[:4] + [good[5], good[4]] + good[6:], "has position 5"),
            "a record twice in an epoch": (changed(8, record=1, replacement=False), "record 1 of c comes twice"),
            "a longer epoch": (changed(6, epoch=0, record=9), "samples of the epochs"),
            "a lost epoch": ([dict(row, epoch=row["epoch"] * 2) for row in good], "samples of the epochs"),
            "nothing": ([], "empty"),
        }
        for what, (rows, reason) in spoiled.items():
            with self.subTest(what), self.assertRaisesRegex(Failure, "ONCE.*" + reason):
                oracles.once(lines(rows))

    def test_half_a_line(self):
        with self.assertRaisesRegex(Failure, "no JSON"):
            oracles.once(lines(samples())[:-9])


class ExitAndMessage(unittest.TestCase):
    def test_codes(self):
        oracles.exit_code(75, 75)
        oracles.exit_code(0, 75, 0)
        for got in (0, 1, -9, None):
            with self.assertRaisesRegex(Failure, "EXIT"):
                oracles.exit_code(got, 75, 137)

    def test_all_parts_must_stand_in_one_line(self):
        text = "rank 1 on n2 is gone (step 3)\nrank 0 on n1 waits\n"
        self.assertEqual(oracles.message(text, "rank 1", "n2", "step 3"), "rank 1 on n2 is gone (step 3)")
        for parts in (("rank 1", "n1"), ("rank 2",), ("rank 1 on n2", "step 4")):
            with self.assertRaisesRegex(Failure, "MSG"):
                oracles.message(text, *parts)
        with self.assertRaisesRegex(Failure, "MSG"):
            oracles.message("", "")


class Clean(unittest.TestCase):
    def test_sees_what_is_left_and_not_what_is_another_s(self):
        with tempfile.TemporaryDirectory() as folder:
            oracles.clean(folder, within=0)
            with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: folder}) as left:
                try:
                    oracles.clean(folder + "x", within=0)
                    while processes.name(left.pid) != "sleep":  # it is this program until it is another
                        time.sleep(0.01)
                    left.send_signal(signal.SIGSTOP)
                    with self.assertRaisesRegex(Failure, f"CLEAN: still there: {left.pid} sleep 60"):
                        oracles.clean(folder, within=0.1)
                finally:
                    processes.end_all(folder)
            oracles.clean(folder)

    def test_waits_for_those_that_are_about_to_go(self):
        with tempfile.TemporaryDirectory() as folder:
            with subprocess.Popen(["sleep", "0.3"], env={**os.environ, MARK: folder}):
                oracles.clean(folder, within=20)

    def test_a_zombie_is_gone(self):
        with tempfile.TemporaryDirectory() as folder:
            zombie = subprocess.Popen(["true"], env={**os.environ, MARK: folder})
            oracles.clean(folder, within=20)
            zombie.wait()

    def test_unfinished_checkpoints(self):
        with tempfile.TemporaryDirectory() as folder:
            run = pathlib.Path(folder)
            (run / "checkpoints/step_00000005").mkdir(parents=True)
            oracles.clean(folder, [run], 0)
            (run / "checkpoints/step_00000010.tmp").mkdir()
            with self.assertRaisesRegex(Failure, "step_00000010.tmp"):
                oracles.clean(folder, [run], 0)


class Outside(unittest.TestCase):
    """What a job leaves in shared memory, and who listens."""

    # Maps a file of shared memory and listens; a child of it without the mark goes on to do so when it is gone.
    PROGRAM = """
import mmap, os, pathlib, socket, subprocess, sys
name, mode = sys.argv[1:]
file = open("/dev/shm/" + name, "w+b")
file.truncate(4096)
memory = mmap.mmap(file.fileno(), 4096)
listener = socket.create_server(("127.0.0.1", 0))
if mode == "child":
    child = subprocess.Popen(["sleep", "60"], env={}, pass_fds=[listener.fileno()], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
else:
    print(0, flush=True)
sys.stdin.readline()
"""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.mark = self.folder.name
        self.name = f"fault_suite_test.{os.getpid()}"
        self.addCleanup(lambda: (traces.SHARED_MEMORY / self.name).unlink(missing_ok=True))

    def start(self, mark, mode="alone"):
        process = subprocess.Popen([sys.executable, "-c", self.PROGRAM, self.name, mode], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, env={**os.environ, MARK: mark})
        self.addCleanup(process.stdout.close)
        return process, int(process.stdout.readline())

    def test_a_file_and_a_socket_that_outlive_their_process(self):
        seen = traces.Traces(self.mark, 0.2)
        process, child = self.start(self.mark, "child")
        seen.look()
        process.communicate()
        left = seen.left()
        self.assertEqual(left[0], f"/dev/shm/{self.name}")
        self.assertRegex(left[1], "^listening at 0100007F:")
        os.kill(child, signal.SIGKILL)
        while len(seen.left()) > 1:
            time.sleep(0.01)
        seen.close()
        self.assertFalse((traces.SHARED_MEMORY / self.name).exists())
        self.assertEqual(seen.left(), [])

    def test_what_is_another_s_or_older_stays(self):
        process, _ = self.start(self.mark + "x")
        older = traces.Traces(self.mark + "x", 0.2)
        seen = traces.Traces(self.mark, 0.2)
        (traces.SHARED_MEMORY / (self.name + "y")).touch()
        self.addCleanup((traces.SHARED_MEMORY / (self.name + "y")).unlink)
        seen.look()
        older.look()
        process.communicate()
        self.assertEqual((seen.left(), older.left()), ([], []))
        for watcher in (seen, older):
            watcher.close()
        self.assertTrue((traces.SHARED_MEMORY / self.name).exists())

    def test_it_sees_by_itself(self):
        seen = traces.Traces(self.mark, 0.2)
        process, _ = self.start(self.mark)
        end = time.monotonic() + 20
        while not seen.left() and time.monotonic() < end:
            time.sleep(0.05)
        process.communicate()
        self.assertEqual(seen.left(), [f"/dev/shm/{self.name}"])
        seen.close()

    def test_a_failure_but_after_a_killed_mpirun(self):
        self.assertEqual(oracles.clean_outside([]), "")
        with self.assertRaisesRegex(Failure, "CLEAN: left behind: a, b"):
            oracles.clean_outside(["a", "b"])
        sessions = ["/tmp/x/ompi.near.0", "/tmp/x/ompi.far.0"]
        self.assertIn("2 session folders", oracles.clean_outside(sessions, mpirun_was_killed=True))
        for excused in (True, False):
            with self.assertRaisesRegex(Failure, "CLEAN: left behind: .*vader"):
                oracles.clean_outside([*sessions, "/dev/shm/vader_segment.near.0.1.0"], mpirun_was_killed=excused)
        with self.assertRaisesRegex(Failure, "CLEAN: left behind: .*ompi"):
            oracles.clean_outside(sessions)


class Time(unittest.TestCase):
    EVENTS = [event(1, "start"), event(2, "step", step=1), event(3, "fault", step=1), event(4, "step", step=2),
              event(5.25, "fault", step=4), event(6, "restart"), event(6.5, "start"), event(8, "step", step=4),
              event(8.75, "step", step=5)]

    def assert_times(self, events, at, known, recovered):
        got = oracles.timing(events, noon(at))
        for value, expected in zip(got, (known, recovered)):
            self.assertEqual(value is None, expected is None, got)
            if expected is not None:
                self.assertAlmostEqual(value, expected, places=3)

    def test_the_first_fault_after_it_and_the_first_step_after_that(self):
        self.assert_times(self.EVENTS, 5, 0.25, 3.75)
        self.assert_times(self.EVENTS, 2.5, 0.5, 1.5)

    def test_what_has_not_happened_has_no_time(self):
        self.assert_times(self.EVENTS[:-1], 5, 0.25, None)  # what was done before is done again
        self.assert_times(self.EVENTS, 7, None, None)

    def test_limits(self):
        oracles.within("it", 1.0, 1.0)
        for seconds in (1.01, None):
            with self.assertRaisesRegex(Failure, "TIME: it"):
                oracles.within("it", seconds, 1.0)

    def test_slope(self):
        self.assertAlmostEqual(oracles.slope([(t, 5 + 3 * t) for t in range(9)]), 3)
        self.assertEqual(oracles.slope([(1, 5), (1, 6)]), 0)


class Journal(unittest.TestCase):
    def test_a_line_that_its_writer_did_not_finish_is_left_out(self):
        data = lines([event(1, "start"), event(2, "step")])
        self.assertEqual([e["event"] for e in oracles.read_journal(data)], ["start", "step"])
        self.assertEqual([e["event"] for e in oracles.read_journal(data[:-4])], ["start"])

    def test_a_spoiled_line_in_the_middle(self):
        with self.assertRaisesRegex(Failure, "launch.jsonl:2"):
            oracles.read_journal(lines([event(1, "start")]) + b'{"event": \n' + lines([event(2, "step")]))


class CheckpointEdit(unittest.TestCase):
    def test_xxh64(self):
        for text, expected in ((b"", 0xEF46DB3751D8E999), (b"a", 0xD24EC4F1A98C6E5B), (b"abc", 0x44BC2CF5AD770999),
                               (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1)):
            self.assertEqual(checkpoint_edit.xxh64(text), expected, text)

    def test_forgets_one_item_and_all_hashes_fit(self):
        header = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"data_offsets": [8, 12]}}
        text = json.dumps(header).encode()
        state = len(text).to_bytes(8, "little") + text + bytes(range(1, 13))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            (path / "state.safetensors").write_bytes(state)
            (path / "manifest.json").write_text(json.dumps({"step": 3, "files": {"state.safetensors": {"xxh64": "0"}}, "xxh64": "0"}))
            self.assertTrue(checkpoint_edit.forget(path, "b"))
            self.assertFalse(checkpoint_edit.forget(path, "b"))
            data = (path / "state.safetensors").read_bytes()
            self.assertEqual(data, state[:-4] + bytes(4))
            manifest = json.loads((path / "manifest.json").read_text())
        self.assertEqual(manifest["files"]["state.safetensors"]["xxh64"], f"{checkpoint_edit.xxh64(data):016x}")
        said = manifest.pop("xxh64")
        self.assertEqual(said, f"{checkpoint_edit.xxh64(json.dumps(manifest, separators=(',', ':')).encode()):016x}")


class Verdicts(unittest.TestCase):
    """A case that finds something is a failed one, whatever it found."""

    def verdict(self, run, needs=None):
        with tempfile.TemporaryDirectory() as folder:
            world = types.SimpleNamespace(folder=pathlib.Path(folder), settings=types.SimpleNamespace(slack=1))
            return case.run_case(case.Case("T1", "a title", run, needs=needs), world, seed=1, keep=False)

    def test_states(self):
        def finds(trial):
            raise Failure("BIT: no")

        def breaks(trial):
            (trial.folder / "absent").read_text()
        self.assertEqual(self.verdict(lambda trial: trial.note("well")).state, "passed")
        self.assertEqual((self.verdict(finds).state, self.verdict(finds).why), ("FAILED", "BIT: no"))
        self.assertEqual(self.verdict(breaks).state, "FAILED")
        lacking = self.verdict(finds, needs=lambda: "no root")
        self.assertEqual((lacking.state, lacking.why), ("not run", "no root"))

    def test_the_same_seed_gives_the_same_moments(self):
        drawn = []
        for _ in range(2):
            self.verdict(lambda trial: drawn.append(trial.rng.random()))
        self.assertEqual(drawn[0], drawn[1])

    def test_a_process_that_a_case_left_is_ended(self):
        left = []

        def leaves(trial):
            left.append(subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: trial.mark}))
            while processes.name(left[0].pid) != "sleep":
                time.sleep(0.01)
        self.verdict(leaves)
        self.assertEqual(left[0].wait(20), -signal.SIGKILL)


class CommandLine(unittest.TestCase):
    def ask(self, *words):
        return subprocess.run([sys.executable, str(ROOT / "scripts/fault_suite"), *words], capture_output=True, text=True)

    def test_list(self):
        listed = self.ask("--list").stdout.splitlines()
        ids = [line.split()[0] for line in listed]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertTrue({"A1", "A9", "B9", "D.cut", "I2"} <= set(ids))
        self.assertEqual([line.split()[0] for line in self.ask("--list", "--only", "A9").stdout.splitlines()],
                         ["A9", "A9.often", "A9.twice", "A9.ranks", "A9.data", "A9.start"])

    def test_an_unknown_case(self):
        answer = self.ask("--only", "Z9")
        self.assertEqual(answer.returncode, 2)
        self.assertIn("no case 'Z9'", answer.stderr)

    def test_no_two_hosts_without_root(self):
        if os.geteuid() != 0:
            self.assertIn("root", hosts.missing())


if __name__ == "__main__":
    unittest.main()
