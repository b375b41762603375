"""What /proc knows. Zombies count as gone: whoever is to reap them may be late."""
import os
import pathlib
import signal

PROC = pathlib.Path("/proc")
MARK = "TRIPTYCH_FAULT_SUITE"
CONNECTED, LISTENS = "01", "0A"  # of the states in /proc/net/tcp


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


def mapped_files(pid, folder):
    """Names of the files of this folder that it has in its memory."""
    begin = f"{folder}/"
    paths = (line.split(maxsplit=5)[-1] for line in _read(pid, "maps").decode(errors="replace").splitlines())
    return {path[len(begin):] for path in paths if path.startswith(begin)}


def has_mapped(pid, library):
    return library.encode() in _read(pid, "maps")


def _sockets(folder, state):
    """Own and peer's address and port, in hexadecimal as the kernel says them, by socket."""
    found = {}
    for name in ("tcp", "tcp6"):
        try:
            rows = [line.split() for line in (folder / "net" / name).read_text().splitlines()[1:]]
        except OSError:
            continue
        found.update((row[9], (row[1], row[2])) for row in rows if row[3] == state)
    return found


def listening_here():
    """Sockets of this network namespace that listen, and where."""
    return {inode: own for inode, (own, _) in _sockets(PROC, LISTENS).items()}


def _own_sockets(pid, state):
    """Those of one process, in its own network namespace."""
    folder, own = PROC / str(pid), set()
    try:
        for entry in os.scandir(folder / "fd"):
            own.add(os.readlink(entry.path).removeprefix("socket:[").removesuffix("]"))
    except OSError:  # gone, or a descriptor is
        pass
    if not any(map(str.isdigit, own)):
        return {}
    every = _sockets(folder, state)
    return {inode: every[inode] for inode in own & every.keys()}


def listening(pid):
    return {inode: own for inode, (own, _) in _own_sockets(pid, LISTENS).items()}


def connections(pid):
    """Own and peer's port of each."""
    return [(int(own.rpartition(":")[2], 16), int(peer.rpartition(":")[2], 16))
            for own, peer in _own_sockets(pid, CONNECTED).values()]


def address_space(pid):
    """Bytes of it at most so far."""
    for line in _read(pid, "status").splitlines():
        if line.startswith(b"VmPeak:"):
            return int(line.split()[1]) * 1024
    return 0


def memory(pid):
    """Resident bytes; 0 if it is gone."""
    fields = _read(pid, "statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if fields else 0


def work(pid):
    """Seconds that its threads have run: exact, where the ticks of /proc/PID/stat are 10 ms."""
    tasks = (PROC / str(pid) / "task").glob("*")
    return sum(int((_read(pid, f"task/{task.name}/schedstat").split() or [0])[0]) for task in tasks) / 1e9


def descriptors(pid):
    try:
        return len(os.listdir(PROC / str(pid) / "fd"))
    except OSError:
        return 0
