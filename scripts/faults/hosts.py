"""Two machines: network namespaces with names of their own, joined by a link, and an agent that stands in for ssh."""
import os
import pathlib
import shutil
import subprocess

from faults import processes

# What ssh does: options, perhaps --, the host, a command for the shell there. A host whose link is down does not answer.
# Where FOLDER/other-program or other-config exists, the second machine has that in place of the program or the configuration;
# where FOLDER/stale-run does, it sees nothing of what the others write to the folder of the run; where FOLDER/other-clock
# does, its clock is set by what faketime makes of the words in there.
AGENT = """#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do
  word=$1; shift
  [ "$word" = -- ] && break
done
host=$1; shift
if ! ip -n "$host" link show dev {device} | head -n 1 | grep -q ',UP'; then
  echo "ssh: connect to host $host: No route to host" >&2; exit 255
fi
exec ip netns exec "$host" unshare --uts --mount sh -c '
  hostname "$0"
  [ -e "{folder}/other-program" ] && mount --bind "{folder}/other-program" "{program}"
  [ -e "{folder}/other-config" ] && mount --bind "{folder}/other-config" "{config}"
  [ -e "{folder}/stale-run" ] && mount -t tmpfs none "{folder}/run"
  [ -e "{folder}/other-clock" ] && export FAKETIME="$(cat "{folder}/other-clock")" LD_PRELOAD="{faketime}" {faketime_rules}
  exec sh -c "$*"' "$host" "$@"
"""
DEVICE = "fault0"
FAKETIME = "/usr/$LIB/faketime/libfaketime.so.1"  # $LIB is the loader's word
FAKETIME_RULES = ("FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_RESET=1")


def ip(*words, check=True):
    return subprocess.run(["ip", *map(str, words)], check=check, capture_output=True, text=True)


def missing():
    """Why there can be no two hosts here; "" if there can."""
    if os.geteuid() != 0:
        return "two hosts want root"
    for tool in ("ip", "unshare", "mount"):
        if not shutil.which(tool):
            return f"two hosts want the program {tool}"
    name = f"trf{os.getpid()}"
    if ip("netns", "add", name, check=False).returncode != 0:
        return "network namespaces cannot be made"
    ip("netns", "del", name)
    return ""


def _missing_in_namespace(what, words):
    """Why a command cannot be done on a host made here; "" if it can."""
    if reason := missing():
        return reason
    if not shutil.which(words[0]):
        return f"two hosts want the program {words[0]}"
    name = f"trf{os.getpid()}"
    ip("netns", "add", name)
    done = subprocess.run(["ip", "netns", "exec", name, *words], capture_output=True)
    ip("netns", "del", name)
    return "" if done.returncode == 0 else f"the kernel has no {what}"


def missing_delays():
    """Why packets cannot be delayed here; "" if they can."""
    return _missing_in_namespace("netem", "tc qdisc add dev lo root netem delay 1ms".split())


def missing_filters():
    """Why packets cannot be dropped by what they are; "" if they can."""
    return _missing_in_namespace("nftables", "nft add table inet f".split())


def missing_clock():
    """Why no process can be told another time; "" if one can."""
    return "" if shutil.which("faketime") else "other clocks want the program faketime"


class TwoHosts:
    """`near`, where the launcher runs, and `far`."""

    _made = 0

    def __init__(self, folder, program, config):
        TwoHosts._made += 1
        self.near, self.far = (f"trf{os.getpid()}x{TwoHosts._made}{side}" for side in "ab")
        self.folder = folder
        self.net = f"10.213.{TwoHosts._made}"
        self.files = [pathlib.Path("/etc/netns") / name for name in (self.near, self.far)]
        self.agent = folder / "agent"
        self.agent.write_text(AGENT.format(folder=folder, program=program, config=config, device=DEVICE, faketime=FAKETIME.replace("$", "\\$"),
                                           faketime_rules=" ".join(FAKETIME_RULES)))
        self.agent.chmod(0o755)

    def __enter__(self):
        try:
            names = f"127.0.0.1 localhost\n{self.net}.1 {self.near}\n{self.net}.2 {self.far}\n"
            for name, files in zip((self.near, self.far), self.files):
                files.mkdir(parents=True)
                (files / "hosts").write_text(names)
                ip("netns", "add", name)
            ip("link", "add", DEVICE, "netns", self.near, "type", "veth", "peer", "name", DEVICE, "netns", self.far)
            for number, name in enumerate((self.near, self.far), 1):
                ip("-n", name, "address", "add", f"{self.net}.{number}/24", "dev", DEVICE)
                ip("-n", name, "link", "set", DEVICE, "up")
                ip("-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name, files in zip((self.near, self.far), self.files):
            ip("netns", "del", name, check=False)
            shutil.rmtree(files, ignore_errors=True)
        try:
            self.files[0].parent.rmdir()
        except OSError:  # others have hosts too
            pass

    def hostfile(self, *lines):
        """Of lines with {near} and {far}; two ranks on each if there are none."""
        path = self.folder / "hosts"
        text = "\n".join(lines or ("{near} slots=2", "{far} slots=2")) + "\n"
        path.write_text(text.format(near=self.near, far=self.far))
        return path

    def enter(self):
        """Words before a program that is to run on the near host."""
        return ["ip", "netns", "exec", self.near, "unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', self.near]

    def options(self, *lines):
        """Of the launcher."""
        return ["--hosts", self.hostfile(*lines), "--agent", self.agent, "--interface", f"{self.net}.0/24"]

    def link(self, state):
        """Up or down, at the far end."""
        ip("-n", self.far, "link", "set", DEVICE, state)

    def shape(self, *words):
        """What becomes of packets at both ends, in words of tc; "none" ends it."""
        for name in (self.near, self.far):
            order = ["del", "dev", DEVICE, "root"] if words == ("none",) else ["replace", "dev", DEVICE, "root", *words]
            subprocess.run(["tc", "-n", name, "qdisc", *order], check=True, capture_output=True, text=True)

    def filter(self, *rules):
        """What the far host does with packets that come in, in words of nft; none ends it."""
        orders = ["add table inet faults", "delete table inet faults"]
        if rules:
            orders += ["add table inet faults", "add chain inet faults in { type filter hook input priority 0; }"]
        orders += [f"add rule inet faults in {rule}" for rule in rules]
        subprocess.run(["ip", "netns", "exec", self.far, "nft", "; ".join(orders)], check=True, capture_output=True, text=True)

    def far_data_ports(self):
        """Ports of the far ranks' connections to near ranks: the launcher's, and those of Open MPI's daemons, are others'."""
        ports = []
        for pid in self.far_processes():
            if processes.name(pid) == "triptych":
                control = processes.environment(pid).get("TRIPTYCH_CONTROL", "").rpartition(":")[2]
                ports += [own for own, peer in processes.connections(pid) if peer != int(control or 0)]
        return sorted(set(ports))

    def far_processes(self):
        return [int(pid) for pid in ip("netns", "pids", self.far).stdout.split()]
