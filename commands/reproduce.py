"""`itin reproduce`: the paper's tables and figures beside the results obtained here."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..fields import option
from ..train.config import CLASS_SCORES, TrainConfig
from ..train.presets import PresetOptions
from ..train.sweeps.axes import PAPER
from .terminal.options import Command, given, options_of, reject_set, take, usage_errors
from .terminal.run_options import Computing, FeatureOptions, ProtocolOptions

if TYPE_CHECKING:
    from ..report.paper.reproduction import Reproduction
    from ..report.paper.request import Request
    from ..train.protocols.protocol import Protocol
    from ..train.sweeps.folder import Sweep
    from ..train.sweeps.prepare import SweepData


VARIED = ("head", "m", "lam", "ablation", "seed", "fold")
"""The fields of `TrainConfig` that the tables and figures vary; the others are the same for all runs."""

FIXED = ("target", "target_weights", "loss", "label_from", "select")
"""The fields that stay as in the paper: its tables are about the label."""


@dataclass(frozen=True, repr=False, eq=False)
class ReproduceOptions:
    """The tables and figures to reproduce, and their output."""

    tables: str = option("2,3", metavar="LIST", group="What is reproduced")
    """Which tables: 2, 3 or none."""
    figures: str = option("5,6,7", metavar="LIST")
    """Which figures: 5, 6, 7 or none."""
    seeds: str = option("5", metavar="SEEDS")
    """How many seeds each, from 0; or which, such as 3,7."""
    m: str = option(PAPER["m"], metavar="N,...")
    """Regions in Fig. 5."""
    lam: str = option(PAPER["lam"], metavar="X,...")
    """λ in Fig. 6."""
    recipe: str = option("original", choices=("original", "paper"))
    """Recipe of the other systems in Table II: that of their own authors, as far as it is known, or the paper's."""
    pairs: str = option("", metavar="ID,...")
    """Pairs of Fig. 7; by default typical ones."""
    retry_failed: bool = False
    """Also train again what has failed before."""
    plan: bool = False
    """Only make the folder: `itin cluster submit -- sweep --resume OUT/sweep` trains its runs."""
    out: Path | None = option(None, metavar="DIR", group="Output")
    """Folder to write; by default one in ./runs, named by data set and protocol."""
    format: str = option("pdf", choices=("pdf", "png", "svg"))
    """Format of the figures' files."""
    images: Path | None = option(None, metavar="DIR")
    """Folder of the images, if they have moved."""


@click.command("reproduce", cls=Command)
@options_of(ReproduceOptions)
@options_of(TrainConfig, but=VARIED + FIXED)
@options_of(PresetOptions)
@options_of(ProtocolOptions)
@options_of(FeatureOptions)
@options_of(Computing, but=("precision", "cuda_graphs"))
@reject_set
def command(**options: Any) -> None:
    """Train the missing runs of the paper's Tables II and III and Figs. 5 to 7, evaluate them once, and report them.

    The rows are fixed beforehand: ITIN with m = 2 and λ = 0.2, every other head with the same (Table II), its
    ablations (Table III), m and λ one at a time. Each run keeps the epoch that is best on the validation part and is
    evaluated once on the test part. Nothing is trained or evaluated twice: the same command continues where it was
    interrupted, and more seeds, tables or figures add only their runs. Exit code 1 if any run has failed.

    Any data set with labels will do; published figures stand beside those on MVSA.

    Writes report.html, tables/ (CSV and LaTeX), figures/ and numbers/ (the same, unrounded).
    """
    from ..report.paper.reproduction import Reproduction
    from ..report.paper.write import write
    from ..report.report import PAGE
    from ..train.sweeps.folder import Sweep, check_none_failed, locked
    from .terminal.console import console
    from .train import short, show_note

    own, wanted, computing = take(ReproduceOptions, options), take(FeatureOptions, options), take(Computing, options)
    with usage_errors():
        protocol = take(ProtocolOptions, options).protocol_of()
        request = _request(own, options, protocol)
    out, data, sweep = _prepared(own.out, wanted, request, protocol)
    console.print(f"Reproduction: {short(out)}, protocol {protocol}")
    with locked(sweep.path):
        sweep = Sweep(sweep.path)  # as the previous holder of the lock left it
        _extend(out, sweep, request, data)
        if own.plan:
            return
        _train(own.retry_failed, computing, sweep, data)
        _evaluate(computing.device, out, data)
    made = Reproduction(out)
    with usage_errors():
        report = write(made, own.format, own.images, wanted.cache)
    _show(made)
    for line in report.missing:
        console.print(line, style="yellow")
    show_note(sweep.definition.note)
    console.print(f"Report: {short(out / PAGE)}")
    check_none_failed(sweep, (trial.key for trial in made.trials), "the same command with --retry-failed")


def _request(own: ReproduceOptions, options: dict[str, Any], protocol: Protocol) -> Request:
    from ..report.paper.request import Request
    from ..train.sweeps.axes import parse_seeds, parse_values

    settings = given(options, TrainConfig)
    if (preset := take(PresetOptions, options).preset) != PresetOptions.preset:
        settings["preset"] = preset
    return Request(
        tables=_numbers("tables", own.tables),
        figures=_numbers("figures", own.figures),
        seeds=parse_seeds(own.seeds),
        folds=tuple(range(protocol.folds or 1)),
        m=parse_values("m", own.m),
        lam=parse_values("lam", own.lam),
        settings=settings,
        pairs=tuple(one.strip() for one in own.pairs.split(",") if one.strip()),
        recipe=own.recipe,
    )


def _numbers(name: str, text: str) -> tuple[int, ...]:
    if text.strip() == "none":
        return ()
    try:
        return tuple(sorted({int(one) for one in text.split(",")}))
    except ValueError:
        raise ValueError(f"{name}: expected numbers with commas between, or none, got {text!r}") from None


def _prepared(
    out: Path | None, wanted: FeatureOptions, request: Request, protocol: Protocol
) -> tuple[Path, SweepData, Sweep]:
    """Return the folder, the features, and the sweep in the folder, which is created if missing."""
    from ..errors import RunError
    from ..train.sweeps.folder import Sweep
    from ..train.sweeps.prepare import SweepData, check_same, create
    from .train import show_data

    with usage_errors():
        plan = request.plan()
    configs = [trial.config for trial in plan.trials]
    sweep = None
    if out is not None and (out / "sweep" / "sweep.json").exists():
        sweep = Sweep(out / "sweep")
        configs += sweep.definition.readers
    found = wanted.find(configs)
    if out is None:
        clean = "".join(c if c.isalnum() or c in "-_." else "-" for c in str(protocol).replace(", ", "-"))
        out = Path("runs") / f"reproduce-{found.table.folder.name}-{clean}"
        if (out / "sweep" / "sweep.json").exists():
            sweep = Sweep(out / "sweep")
            configs += sweep.definition.readers
    data = SweepData(
        found.table,
        found.stores,
        configs,
        protocol,
        allow_missing=wanted.allow_missing or sweep is not None,  # the pairs it was begun with are checked below
        select=CLASS_SCORES[0],  # each row keeps its epoch by its own recipe
    )
    show_data(found.stores, data, data.splitter.outside)
    if sweep is None:
        definition: dict[str, Any] = {"mode": "paper", "axes": {}, "seeds": list(request.seeds), "number": None}
        sweep = create(out / "sweep", plan, data, **definition, folder=str(found.table.folder.resolve()))
    elif str(sweep.definition.protocol_used) != str(protocol):
        raise RunError(
            f"{out} holds a reproduction by another protocol",
            expected=str(sweep.definition.protocol_used),
            found=str(protocol),
            next_step="choose another --out",
        )
    else:
        check_same(sweep, data)
    return out, data, sweep


def _extend(out: Path, sweep: Sweep, request: Request, data: SweepData) -> None:
    """Add the requested runs to the sweep, print how many are left, and store the request."""
    from ..train.sweeps.prepare import extend
    from .terminal.console import console

    plan = request.plan()
    extend(sweep, plan, data)
    request.write(out)
    for line in plan.left_out:
        console.print(f"left out: {line}", style="yellow")
    keys = {trial.key for trial in data.keyed(plan.trials)}
    left = keys - set(sweep.ended())
    console.print(f"{len(keys)} runs, {len(keys) - len(left)} of them there already")


def _train(retry: bool, computing: Computing, sweep: Sweep, data: SweepData) -> None:
    from ..device import pick_device
    from ..train.sweeps.run import run
    from .sweep import prepare
    from .terminal.sweep_display import Display

    with usage_errors():
        device = pick_device(computing.device)
        gru = prepare(computing.gru, device, sweep.definition, data, click.echo)
    settings = computing.arguments(device, gru)
    try:
        with Display("accuracy") as display:
            run(sweep, data, retry=retry, begin=display.begin, listen=display.listen, **settings)
    except KeyboardInterrupt:
        click.echo("Stopped. Finished runs are kept; run the same command again to continue.", err=True)
        sys.exit(130)


def _evaluate(device: str, out: Path, data: SweepData) -> None:
    """Evaluate the requested rows on the test part, each run once."""
    from ..device import pick_device
    from ..report.paper import evaluate
    from ..report.paper.reproduction import Reproduction
    from .terminal.console import console

    made = Reproduction(out)
    keys = dict.fromkeys(trial.key for trial in made.trials)
    results = [made.results[key] for key in keys if key in made.results]
    left = evaluate.missing(out, [one.key for one in results if one.run is not None])
    if left:
        console.print(f"Evaluating {len(left)} runs on the test part, once")
    evaluate.evaluate(out, results, data, str(pick_device(device)))


def _show(made: Reproduction) -> None:
    """Print the accuracies of Tables II and III, and what is missing."""
    import pandas as pd

    from ..report.paper.sections import ablations
    from ..report.paper.systems import systems
    from .terminal.console import console, grid

    for key, why in list(made.missing.items())[:5]:
        console.print(f"missing: {key}: {why}", style="red")
    for name, make in (("table-2", systems), ("table-3", ablations)):
        if name in made.tables:
            section = make(made.tables[name], made)[0]
            left_out = ["system", "recipe", "larger than chance"]
            table = pd.DataFrame(section.table).drop(columns=left_out, errors="ignore")
            console.print(section.caption)
            console.print(grid(list(table), table.to_numpy().tolist()))
