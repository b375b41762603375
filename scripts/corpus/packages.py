"""Debian packages as data: downloaded in the pinned version, checked, unpacked into a cache folder, not installed."""

import hashlib
import pathlib
import shutil
import subprocess
import sys


class PackageError(RuntimeError):
    pass


def read_pins(versions: pathlib.Path) -> dict[str, tuple[str, str]]:
    """{package: (version, sha256)} of the `deb` lines of versions.txt."""
    fields = [line.split() for line in versions.read_text().splitlines()]
    return {f[1]: (f[2], f[3]) for f in fields if f and f[0] == "deb"}


def sha256_of(path: pathlib.Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def run(command: list[str], folder: pathlib.Path) -> bool:
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(done.stderr.strip(), file=sys.stderr)
    return done.returncode == 0


def download(name: str, version: str, folder: pathlib.Path) -> pathlib.Path:
    """The .deb file; refreshes apt's lists once when they do not know the package."""
    if not shutil.which("apt-get"):
        raise PackageError(f"{name}: this needs apt-get (a Debian system) to download the package {name} {version}")
    command = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", f"{name}={version}"]
    if not run(command, folder):
        print(f"corpora: refreshing apt's package lists for {name}", file=sys.stderr)
        if not (run(["apt-get", "update", "-qq"], folder) and run(command, folder)):
            raise PackageError(
                f"{name} {version} cannot be downloaded (apt's message is above); 'apt-get update' as root refreshes the "
                f"lists, 'apt-cache policy {name}' shows the versions on offer. Another version than the pinned one needs "
                "its own line in scripts/versions.txt and gives other corpora than docs/data_formats.md describes")
    return next(folder.glob(f"{name}_*.deb"))


def unpack(name: str, version: str, sha256: str, cache: pathlib.Path) -> pathlib.Path:
    """Folder with the package's files. It exists only when complete."""
    target = cache / f"{name}-{sha256[:12]}"
    if target.is_dir():
        return target
    scratch = cache / f"{name}.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    print(f"corpora: downloading {name} {version}", file=sys.stderr)
    package = download(name, version, scratch)
    if (got := sha256_of(package)) != sha256:
        raise PackageError(f"{name} {version}: sha256 is {got}, expected {sha256} (scripts/versions.txt)")
    if not run(["dpkg-deb", "-x", package.name, "files"], scratch):
        raise PackageError(f"{name} {version}: dpkg-deb cannot unpack it (its message is above); is the disk full?")
    (scratch / "files").rename(target)
    shutil.rmtree(scratch)
    return target
