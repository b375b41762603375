"""What a job puts outside of its folder: shared memory and listening sockets. They are noted while it runs, for later
nobody can tell whose a file in /dev/shm is: other jobs of this machine have theirs there too."""
import os
import pathlib
import threading
import time

from faults import processes

SHARED_MEMORY = pathlib.Path("/dev/shm")
LOOKS = 10  # at a new file, until somebody must have mapped it


def _listed():
    try:
        return set(os.listdir(SHARED_MEMORY))
    except OSError:
        return set()


def _of_faketime(names):
    """It leaves files of its own where a program becomes another, as the launcher does."""
    return {name for name in names if "faketime" in name}


def _shared_files():
    names = _listed()
    return names - _of_faketime(names)


class Traces(threading.Thread):
    """Watches the processes of a mark until it is closed."""

    def __init__(self, mark, every):
        """`every`: so many seconds it looks, which costs about 40 ms of a core."""
        super().__init__(daemon=True)
        self._mark, self._every, self._over = mark, every, threading.Event()
        self._older, self._older_clocks = _shared_files(), _of_faketime(_listed())
        self._looks, self._files, self._sockets = {}, set(), {}
        self.start()

    def run(self):
        while not self._over.wait(self._every):
            self.look()

    def look(self):
        """At new files, and at who listens."""
        new = [name for name in _shared_files() - self._older - self._files if self._looks.get(name, 0) < LOOKS]
        for name in new:
            self._looks[name] = self._looks.get(name, 0) + 1
        for pid in processes.marked(self._mark):
            self._files |= processes.mapped_files(pid, SHARED_MEMORY).intersection(new)
            self._sockets.update(processes.listening(pid))

    def left(self, within=0.0):
        """What is still there, in words. Meant for when the processes are gone: a socket is then somebody else's, or,
        for a moment, of a process that has lost its memory and not yet its files."""
        end = time.monotonic() + within
        while (listening := self._sockets.keys() & processes.listening_here().keys()) and time.monotonic() < end:
            time.sleep(0.05)
        return ([str(SHARED_MEMORY / name) for name in sorted(self._files & _shared_files())]
                + [f"listening at {self._sockets[inode]}" for inode in sorted(listening)])

    def close(self):
        """Stops, and removes the files that are left."""
        self._over.set()
        self.join()
        for name in (self._files & _shared_files()) | (_of_faketime(_listed()) - self._older_clocks):
            (SHARED_MEMORY / name).unlink(missing_ok=True)
