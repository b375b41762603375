"""scripts/check_includes.py: every rule must be able to fail."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
import check_includes

HEADERS = ("core/base/errors.h", "core/types/batch.h", "core/model/vit.h", "distributed/collectives.h", "distributed/launch.h",
           "core/train/trainer.h", "losses/unicl.h")


def check(path: str, include: str) -> list[str]:
    """Violations found in a tree of which one file has one include line."""
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in HEADERS:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("#pragma once\n")
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"// A file.\n#include {include}\n")
        return check_includes.check_file(root / path, root)


class CheckIncludes(unittest.TestCase):
    def test_what_is_allowed(self):
        for path, include in (
            ("losses/a.cpp", '"distributed/collectives.h"'), ("losses/a.cpp", '"core/base/errors.h"'), ("losses/a.cpp", '"losses/unicl.h"'),
            ("apps/a.cpp", '"core/train/trainer.h"'), ("apps/a.cpp", "<CLI/CLI.hpp>"), ("distributed/a.cpp", "<mpi.h>"),
            ("core/base/a.cpp", "<yaml-cpp/yaml.h>"), ("core/model/a.cpp", "<ATen/ATen.h>"), ("core/model/a.h", "<ATen/core/Tensor.h>"),
        ):
            with self.subTest(path=path, include=include):
                self.assertEqual(check(path, include), [])

    def test_what_is_refused(self):
        for path, include in (
            ("losses/a.cpp", '"core/model/vit.h"'), ("losses/a.cpp", '"distributed/launch.h"'), ("data/a.cpp", '"distributed/collectives.h"'),
            ("core/base/a.h", '"core/types/batch.h"'), ("core/model/a.cpp", '"core/train/trainer.h"'), ("core/train/a.cpp", '"losses/unicl.h"'),
            ("apps/a.cpp", '"unicl.h"'), ("losses/a.cpp", '"../core/base/errors.h"'),
            ("distributed/a.h", "<mpi.h>"), ("core/train/a.cpp", "<mpi.h>"), ("core/train/a.cpp", "<cuda_runtime.h>"),
            ("core/model/a.cpp", "<torch/torch.h>"), ("core/model/a.cpp", "<torch/nn/module.h>"), ("core/base/a.cpp", "<ATen/ATen.h>"),
            ("data/text/a.cpp", "<c10/util/Exception.h>"), ("data/a.cpp", "<yaml-cpp/yaml.h>"), ("core/train/a.cpp", "<CLI/CLI.hpp>"),
            ("core/model/a.h", "<ATen/ATen.h>"),
        ):
            with self.subTest(path=path, include=include):
                found = check(path, include)
                self.assertEqual(len(found), 1)
                self.assertTrue(found[0].startswith(f"{path}:2: #include {include}"), found)

    def test_exit_code_of_the_program(self):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "losses/a.cpp"
            source.parent.mkdir()
            for text, expected in (("#include <vector>\n", 0), ("#include <mpi.h>\n", 1)):
                source.write_text(text)
                done = subprocess.run([sys.executable, check_includes.__file__, "--root", folder], capture_output=True)
                self.assertEqual(done.returncode, expected)


if __name__ == "__main__":
    unittest.main()
