"""`python -m fastsoftmax.aot`: compile the kernels for processor levels into the installed package."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from fastsoftmax.aot import link
from fastsoftmax.runtime import library


def main(arguments: list[str] | None = None) -> int:
    """Build the libraries and say where they are."""
    parser = argparse.ArgumentParser("python -m fastsoftmax.aot", description=__doc__)
    parser.add_argument("--folder", type=Path, default=library.FOLDER, help="where they go (%(default)s)")
    parser.add_argument("--level", action="append", help="a processor level, such as x86-64-v3")
    parser.add_argument("--processes", type=int, help="how many compile at once (one for each processor)")
    parser.add_argument("--only", default="", help="a regular expression that symbols have to match")
    parser.add_argument("--tag", action="store_true", help="say the tag of a wheel that holds them, last")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    table = link.build(options.folder, options.level, options.processes, only=options.only)
    sizes = ", ".join(
        f"{file.name} {file.stat().st_size / 1e6:.2f} MB" for file in sorted(table.parent.glob("*.so"))
    )
    print(f"{table.parent}: {sizes}, in {time.perf_counter() - began:.0f} s")
    if options.tag:
        print(link.platform_tag(options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
