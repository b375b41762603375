"""What /proc knows. Zombies count as gone: whoever is to reap them may be late."""
import os
import pathlib
import signal

PROC = pathlib.Path("/proc")
MARK = "TRIPTYCH_FAULT_SUITE"


def _read(pid, name):
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:  # gone, or not ours
        return b""


def alive(pid):
    status = _read(pid, "stat").rsplit(b")", 1)
    return len(status) == 2 and status[1].split()[0] not in (b"Z", b"X")


def environment(pid):
    pairs = (entry.partition(b"=") for entry in _read(pid, "environ").split(b"\0") if b"=" in entry)
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, _, value in pairs}


def command(pid):
    return _read(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace").strip()


def parent(pid):
    status = _read(pid, "stat").rsplit(b")", 1)
    return int(status[1].split()[1]) if len(status) == 2 else 0


def name(pid):
    return _read(pid, "comm").decode(errors="replace").strip()


def marked(mark):
    """Processes that were started with this mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit() and wanted in _read(entry.name, "environ").split(b"\0") and alive(entry.name):
            found.append(int(entry.name))
    return sorted(set(found) - {os.getpid()})


def end_all(mark):
    """What a case has left. Stopped ones too."""
    for pid in marked(mark):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def memory(pid):
    """Resident bytes; 0 if it is gone."""
    fields = _read(pid, "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def descriptors(pid):
    try:
        return len(os.listdir(PROC / str(pid) / "fd"))
    except OSError:
        return 0
