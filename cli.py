"""The command line, `itin COMMAND`: commands are loaded on demand, and our errors become one clear message."""

from __future__ import annotations

import atexit
import codecs
import gc
import io
import os
import sys
import threading
from typing import Any, NoReturn

import click

from .commands.terminal.lazy_group import LazyGroup
from .errors import RUN_AGAIN, ItinError, TransientError

# Torch threads that spin while they wait slow a busy machine down many times over. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

COMMANDS = {
    "demo": ("demo", "The whole way on a small data set of its own, in under two minutes."),
    "extract": ("extract", "Encode a data set's images and texts into the feature cache."),
    "weights": ("weights.weights_group", "List the encoders' weights and their origin; fetch and pack them."),
    "data": ("data.data_group", "Check a data set; fetch published splits."),
    "cache": ("cache.cache_group", "Inspect, check, merge, import, export and remove stores."),
    "cluster": ("cluster", "Run extract or sweep in parts on Slurm or Dask."),
    "train": ("train", "Train the head on cached features."),
    "sweep": ("sweep", "Train many configurations: a grid, the paper's axes, a search."),
    "reproduce": ("reproduce", "The paper's tables and figures, trained, tested, compared."),
    "runs": ("runs", "List runs: filter, sort, the best by validation."),
    "evaluate": ("evaluate", "Repeat a run's test figures from its checkpoint."),
    "predict": ("predict", "Predict for an image with its text, by a run's own encoders."),
    "explain": ("explain", "Fig. 7 for any pair: regions, gates, shaded words."),
    "report": ("report", "One page on runs and sweeps: scores, figures, every pair."),
    "export": ("export", "A run's head as ONNX or safetensors, with a model card."),
    "doctor": ("doctor", "Check this machine: devices, packages, weights, cache, cluster."),
}
"""Command -> module in `itin.commands`, and its line in the help, in their order there."""

_PERMISSIONS = "make it readable, or its folder writable, for the user who runs the command"

_PLAIN = {"–": "-", "−": "-", "…": "...", "×": "x", "±": "+-", "λ": "lambda"}


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks by plain letters, or by an escape (`\\u65e5`)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in letters), error.end


class Main(LazyGroup):
    """The command line as a whole."""

    alone = False
    """Whether the process is the command's (`program`), and not that of a program that calls it."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; output never fails because of its encoding, see `_plain`."""
        codecs.register_error(_plain.__name__, _plain)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
                stream.reconfigure(errors=_plain.__name__)
        return super().main(*args, **kwargs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load and return a command."""
        found = super().get_command(ctx, cmd_name)
        if self.alone:
            gc.freeze()  # what is loaded stays: looking for garbage in it takes a tenth of the time of `--help`
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; show an error that a user can fix without a traceback."""
        try:
            return super().invoke(ctx)
        except TransientError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(RUN_AGAIN)
        except ItinError as error:
            raise click.ClickException(str(error)) from error
        except PermissionError as error:
            what = f"no access to {error.filename}: {error.strerror}"
            raise click.ClickException(str(ItinError(what, next_step=_PERMISSIONS))) from error


@click.group(
    cls=Main, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="itin")
def main() -> None:
    """Image-text sentiment analysis: extract features once, then train in seconds.

    New here? `itin demo` shows the whole way on a small data set that it draws itself. With MVSA at hand:

    \b
      itin extract --dataset mvsa-single --root MVSA_Single
      itin train --m 2 --lam 0.2
    """


def program() -> NoReturn:
    """Run the command line as a process of its own, and end it without taking PyTorch apart.

    Python would free every module and torch its libraries, which takes up to a second after the last line of output.
    """
    main.alone = True
    try:
        main(prog_name="itin")
    except SystemExit as ending:
        others = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
        if "torch" not in sys.modules or others or not isinstance(ending.code, int | None):
            raise
        atexit._run_exitfuncs()  # temporary folders, children, logs
        try:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
        except OSError:  # nobody reads it, which Python says as it ends
            raise ending from None
        os._exit(ending.code or 0)
    raise AssertionError("click ends with SystemExit")
