"""The entry point of the `fastsoftmax` command and of `python -m fastsoftmax`."""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    """Run the command line, or say in one line what must be installed for it.

    Raises
    ------
    SystemExit
        Always: 0 done, 1 a failure said in one line on stderr, 2 wrong usage, 130 interrupted.

    Examples
    --------
    >>> import sys
    >>> sys.argv = ["fastsoftmax", "--version"]
    >>> main()  # doctest: +SKIP
    fastsoftmax 0.2.0
    """
    missing = [name for name in ("typer", "rich", "pandas") if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f'fastsoftmax: the command line needs {", ".join(missing)}: pip install "fastsoftmax[cli]"',
            file=sys.stderr,
        )
        raise SystemExit(1)
    from fastsoftmax.cli.app import app

    app(prog_name="fastsoftmax")


if __name__ == "__main__":
    main()
