"""The command line: `fastsoftmax fit`, `predict`, `score`, `info` and `warmup`.

Results go to stdout, progress and warnings to stderr. A failure is one line on stderr and a status;
`python -X dev -m fastsoftmax` shows the traceback. Large libraries (Numba, pandas, scikit-learn, matplotlib)
are imported by the command that needs them, so that `--help` is quick.
"""

from __future__ import annotations

from typing import Annotated

import typer

from fastsoftmax import __version__
from fastsoftmax.cli.fit import fit
from fastsoftmax.cli.info import info
from fastsoftmax.cli.predict import predict, score
from fastsoftmax.cli.warmup import warmup

app = typer.Typer(
    help="Softmax regression (multinomial logistic regression) on a file of data.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _common(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        typer.echo(f"fastsoftmax {__version__}")
        raise typer.Exit


for command in (fit, predict, score, info, warmup):  # in the order of the help
    app.command()(command)
