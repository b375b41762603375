#!/usr/bin/env python3
"""Checks who includes whom, by the table of docs/architecture.md. Prints every violation; exit 1 if there is one.

Headers of the project are included from the root with quotes ("losses/unicl.h"), all others with angle brackets.
"""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BASE = ("core/base",)
TYPES = ("core/types",) + BASE
# Room -> what its files may include besides the room itself. A name with a suffix is one header.
ROOMS = {
    "core/base": (),
    "core/types": BASE,
    "core/module": TYPES,
    "core/model": ("core/module",) + TYPES,
    "core/objective": ("core/model", "core/module", "losses", "distributed") + TYPES,
    "core/eval": ("core/objective", "core/model", "core/module", "data", "distributed") + TYPES,
    "core/train": ("core/objective", "core/eval", "core/model/model_config.h", "core/module", "data", "distributed") + TYPES,
    "distributed": BASE,
    "data": TYPES,
    "losses": ("distributed/collectives.h", "distributed/gather_with_grad.h") + TYPES,
}
ROOMS["apps"] = tuple(ROOMS)
ROOMS["tests"] = tuple(ROOMS)

# Outside headers: (pattern, where they are allowed as patterns of paths, why).
OUTSIDE = (
    (r"torch/(torch|extension|types|all|nn|optim)\.h|torch/(nn|optim)/.*", (), "costs 7 s or more a file; use the ATen headers"),
    (r"mpi\.h|nccl\.h|cuda\w*\.h|(ATen|c10)/cuda/.*|.*ProcessGroupNCCL\.hpp", (r"distributed/.*\.(cpp|cu)",),
     "transport and device types stay inside distributed/*.cpp"),
    (r"link-grammar/.*", (r"data/text/link_parser\.cpp",), "the parser is behind data/text/link_parser.h"),
    (r"boost/.*|sodium\.h", (r"distributed/launcher/.*", r"apps/(launch_plan|triptych_launch)\.cpp", r"tests/.*"),
     "sockets and keys are the launcher's"),
    (r"CLI/.*", (r"apps/.*",), "only apps/ knows the command line"),
    (r"yaml-cpp/.*", (r"core/base/.*", r"apps/.*", r"tests/.*"), "only core/base reads YAML; others have typed structs"),
    (r"(ATen|c10|torch)/.*", (r"(?!core/base/|data/formats/|data/image/|data/text/|data/tools/).*",), "this room works without torch"),
    (r"ATen/ATen\.h", (r".*\.(cpp|cu)", r"tests/.*"), "headers include <ATen/core/Tensor.h> and say at::Tensor"),
)
GENERATED = {"git_revision.h": "apps"}  # made while building: header -> the only room that may include it
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
SUFFIXES = {".h", ".cpp", ".cu", ".cuh"}


def room_of(path: str) -> str | None:
    return next((room for room in ROOMS if path.startswith(room + "/")), None)


def check_own(source: str, header: str, root: pathlib.Path) -> str | None:
    room, target = room_of(source), room_of(header)
    if GENERATED.get(header) == room:
        return None
    if target is None or not (root / header).is_file():
        return "no such header; include from the root of the repository"
    allowed = ROOMS[room]
    if target == room or header in allowed or target in allowed:
        return None
    return f"{room} may include {', '.join(allowed) or 'no other room'}"


def check_outside(source: str, header: str) -> str | None:
    for pattern, places, reason in OUTSIDE:
        if re.fullmatch(pattern, header) and not any(re.fullmatch(place, source) for place in places):
            return reason
    return None


def check_file(path: pathlib.Path, root: pathlib.Path) -> list[str]:
    source, found = str(path.relative_to(root)), []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not (match := INCLUDE.match(line)):
            continue
        own, outside = match.groups()
        problem = check_own(source, own, root) if own else check_outside(source, outside)
        if problem:
            found.append(f"{source}:{number}: {line.strip()}: {problem}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/check_includes.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="repository to check (default: this one)")
    root = parser.parse_args().root.resolve()
    files = sorted(p for room in {r.split("/")[0] for r in ROOMS} for p in (root / room).rglob("*") if p.suffix in SUFFIXES)
    if not files:
        sys.exit(f"check_includes: no sources under {root}")
    violations = [violation for path in files for violation in check_file(path, root)]
    print("\n".join(violations) if violations else f"includes: {len(files)} files in order")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
