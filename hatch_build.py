"""Wheels with compiled kernels: FASTSOFTMAX_COMPILE=1 python -m build --wheel.

Without the variable a wheel is pure Python, as is an editable installation, whose sources may change: kernels
are then compiled at first use. An installation from sources needs neither a C compiler nor minutes.
"""

import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASKED = os.environ.get("FASTSOFTMAX_COMPILE", "0") not in ("", "0")
# What kernels are compiled by: exact versions, so that a change of Numba's internals stops a release and
# never a user. The extension module asks NumPy for what has been there since 1.7.
COMPILERS = ("numba==0.68.1", "llvmlite==0.50.0", "numpy>=2.0", "scipy>=1.14.1", "threadpoolctl>=3.5")


class CompiledKernels(BuildHookInterface):
    """Builds the libraries of kernels, which go into the folder `compiled` of the package."""

    def dependencies(self) -> list[str]:
        """Return what a build needs beside hatchling."""
        return list(COMPILERS) if ASKED and self.target_name == "wheel" else []

    def initialize(self, version: str, build_data: dict) -> None:
        """Compile into a temporary folder, and say in the wheel's name what it runs on."""
        if not ASKED or self.target_name != "wheel" or version == "editable":
            return
        for pinned in COMPILERS:
            name, _, wanted = pinned.partition("==")
            if wanted and metadata.version(name) != wanted:
                raise RuntimeError(f"kernels are compiled by {pinned}, not {metadata.version(name)}")
        self._made = tempfile.TemporaryDirectory()
        folder = Path(self._made.name)
        # What a build environment adds to the path stays there, behind the sources.
        path = os.pathsep.join(filter(None, (self.root, os.environ.get("PYTHONPATH"))))
        command = [sys.executable, "-m", "fastsoftmax.aot", "--folder", str(folder), "--tag"]
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": path}, check=True, stdout=subprocess.PIPE, text=True
        )
        build_data["pure_python"] = False
        build_data["tag"] = done.stdout.strip().splitlines()[-1]
        for file in folder.iterdir():
            build_data["force_include"][str(file)] = f"fastsoftmax/compiled/{file.name}"

    def finalize(self, version: str, build_data: dict, artifact_path: str) -> None:
        """Remove the temporary folder."""
        if hasattr(self, "_made"):
            self._made.cleanup()
