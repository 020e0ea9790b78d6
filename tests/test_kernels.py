"""The kernels compile for GPUs: in a process of its own, for here they are interpreted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_all_kernels_compile_for_old_and_new_gpus(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    settings = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiling"],
        env=settings,
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {tuple(line.split()[:2]) for line in done.stdout.splitlines()} == {
        *(("_place", "75"), ("_place", "90"), ("_bend_and_shrink", "90")),
        *(("_measure", "75"), ("_measure", "90"), ("_apply", "75"), ("_apply", "90")),
        *(("_multiply", "80"), ("_multiply", "90"), ("_join", "80"), ("_join", "90")),
    }
