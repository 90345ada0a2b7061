"""`itin reproduce`: the paper's tables and figures, with the results obtained here beside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..parts import cores
from ..train.config import GRUS
from ..train.presets import PRESETS
from .options import STORES, feature_options, protocol_of, protocol_options, usage_errors

if TYPE_CHECKING:
    from ..report.request import Request
    from ..train.protocols import Protocol
    from ..train.sweep import Sweep
    from ..train.sweep_run import Workplace


@click.command("reproduce", short_help="The paper's tables and figures, trained, tested, compared.")
@click.option("--dataset", help="The data set's name in the cache; may be left out if there is only one.")
@click.option("--seeds", default="5", show_default=True, help="How many seeds each, from 0; or which, such as 3,7.")
@click.option("--tables", default="2,3", show_default=True, help="Which tables: 2, 3 or none.")
@click.option("--figures", default="5,6,7", show_default=True, help="Which figures: 5, 6, 7 or none.")
@click.option("--m", default="0:6", show_default=True, help="Regions in Fig. 5.")
@click.option("--lam", default="0:1:0.1", show_default=True, help="λ in Fig. 6.")
@click.option(
    "--preset", type=click.Choice(tuple(PRESETS)), default="paper", show_default=True, help="Reading of the paper."
)
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Any other field, in all runs. Repeatable."
)
@click.option("--pairs", default="", metavar="ID,ID", help="Pairs of Fig. 7; by default typical ones.")
@protocol_options
@feature_options
@click.option("--images", type=click.Path(path_type=Path), help="Folder of the images, if they have moved.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder; by default one in ./runs by data set and protocol."
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(("pdf", "png", "svg")),
    default="pdf",
    show_default=True,
    help="Of the figures' files.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes; by default one a core, or one on a GPU.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each process.")
@click.option(
    "--stack", type=click.IntRange(1), help="Train so many side by side; by default what memory allows on a GPU."
)
@click.option("--gru", type=click.Choice(GRUS), default="auto", show_default=True, help="How to compute the GRU.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--retry-failed", is_flag=True, help="Also train again what has failed before.")
@click.option("--plan", is_flag=True, help="Only make the folder: `itin cluster sweep --resume OUT/sweep` trains it.")
def command(**options: Any) -> None:
    """Train what is missing of the paper's Tables II and III and Figs. 5 to 7, evaluate it once, and write it down.

    The rows are fixed beforehand: ITIN with m = 2 and λ = 0.2, its ablations, m and λ one at a time. Each run keeps the
    epoch that is best on the validation part and is evaluated once on the test part. Nothing is trained or evaluated
    twice: the same command continues where it was interrupted, and more seeds, tables or figures add only their runs.
    Exit code 1 if any run has failed.

    Writes report.html, tables/ (CSV and LaTeX), figures/ and numbers/ (the same, unrounded).
    """
    from ..report.report import PAGE
    from ..report.reproduction import Reproduction
    from ..report.write import write
    from ..train.sweep import Sweep, check_none_failed
    from ..train.sweep_run import locked
    from .terminal.console import console
    from .train import short, show_note

    protocol = protocol_of(options)
    request = _request(options, protocol)
    out, place, sweep = _prepared(options, request, protocol)
    console.print(f"Reproduction: {short(out)}, protocol {protocol}", markup=False)
    with locked(sweep.path):
        sweep = Sweep(sweep.path)  # as whoever held the lock before has left it
        _extend(out, sweep, request, place)
        if options["plan"]:
            return
        _train(options, sweep, place, out)
        _evaluate(options, out, place)
    made = Reproduction(out)
    with usage_errors():
        report = write(made, options["kind"], options["images"], options["cache"])
    _show(made)
    for line in report.missing:
        console.print(line, style="yellow", markup=False)
    show_note(["untrained"] if sweep.definition.untrained else [])
    console.print(f"Report: {short(out / PAGE)}", markup=False)
    check_none_failed(sweep, made.keys.values(), "the same command with --retry-failed")


def _request(options: dict[str, Any], protocol: Protocol) -> Request:
    from ..report.request import Request, single
    from ..train.axes import parse_seeds, parse_settings, parse_values

    with usage_errors():
        settings = single(parse_settings(options["settings"]))
        if options["preset"] != "paper":
            settings["preset"] = options["preset"]
        return Request(
            tables=_numbers("tables", options["tables"]),
            figures=_numbers("figures", options["figures"]),
            seeds=parse_seeds(options["seeds"]),
            folds=tuple(range(protocol.folds or 1)),
            m=parse_values("m", options["m"]),
            lam=parse_values("lam", options["lam"]),
            settings=settings,
            pairs=tuple(one.strip() for one in options["pairs"].split(",") if one.strip()),
        )


def _numbers(name: str, text: str) -> tuple[int, ...]:
    if text.strip() == "none":
        return ()
    try:
        return tuple(sorted({int(one) for one in text.split(",")}))
    except ValueError:
        raise ValueError(f"{name}: expected numbers with commas between, or none, got {text!r}") from None


def _prepared(options: dict[str, Any], request: Request, protocol: Protocol) -> tuple[Path, Workplace, Sweep]:
    """The folder, the features, and the sweep in the folder, made where there is none."""
    from ..errors import RunError
    from ..paths import cache_root
    from ..train.axes import views_of
    from ..train.find import find_features
    from ..train.sweep import Sweep
    from ..train.sweep_run import Workplace, check_same, create
    from .train import show_data

    with usage_errors():
        plan = request.plan()
    configs = [one.config for one in plan.places]
    out, sweep = options["out"], None
    if out is not None and (out / "sweep" / "sweep.json").exists():
        sweep = Sweep(out / "sweep")
        configs += [one.config for one, _ in sweep.definition.places]
    named = {kind: options[option] for kind, option in STORES.items()}
    views = views_of(configs, {})
    found = find_features(cache_root(options["cache"]), options["dataset"], named, views=views)
    if out is None:
        clean = "".join(c if c.isalnum() or c in "-_." else "-" for c in str(protocol).replace(", ", "-"))
        out = Path("runs") / f"reproduce-{found.table.folder.name}-{clean}"
        if (out / "sweep" / "sweep.json").exists():
            sweep = Sweep(out / "sweep")
            configs += [one.config for one, _ in sweep.definition.places]
    place = Workplace(
        found.table,
        found.stores,
        max(one.regions for one in configs),
        views_of(configs, {}),
        protocol,
        allow_missing=options["allow_missing"] or sweep is not None,  # what it was begun with is checked below
    )
    show_data(found.stores, place, place.splitter.outside)
    if sweep is None:
        definition: dict[str, Any] = {"mode": "paper", "axes": {}, "seeds": list(request.seeds), "number": None}
        sweep = create(out / "sweep", plan, place, **definition, folder=str(found.table.folder.resolve()))
    elif str(sweep.definition.protocol_used) != str(protocol):
        raise RunError(
            f"{out} holds a reproduction by another protocol",
            expected=str(sweep.definition.protocol_used),
            found=str(protocol),
            next_step="choose another --out",
        )
    else:
        check_same(sweep, place)
    return out, place, sweep


def _extend(out: Path, sweep: Sweep, request: Request, place: Workplace) -> None:
    """Say what is to be trained, and keep what was asked for."""
    from ..train.sweep import missing
    from ..train.sweep_run import extend
    from .terminal.console import console

    extend(sweep, request.plan(), place)
    request.write(out)
    keys = {place.key(one.config) for one in request.plan().places}
    left = keys & {key for _, key in missing(sweep.definition, {**sweep.failed(), **sweep.finished()})}
    console.print(f"{len(keys)} runs, {len(keys) - len(left)} of them there already", markup=False)


def _train(options: dict[str, Any], sweep: Sweep, place: Workplace, out: Path) -> None:
    from ..device import pick_device
    from ..train.sweep_run import run
    from .sweep import prepare
    from .terminal.sweep_display import Display

    with usage_errors():
        device = pick_device(options["device"])
        gru = prepare(options["gru"], device, sweep.definition, place, click.echo)
    workers = options["workers"] or (max(1, cores() // options["threads"]) if device.type == "cpu" else 1)
    try:
        with Display() as display:
            run(
                sweep, place, workers=workers, threads=options["threads"], device=str(device), gru=gru,
                retry=options["retry_failed"], stack=options["stack"], begin=display.begin, listen=display.listen,
            )  # fmt: skip
    except KeyboardInterrupt:
        click.echo("Stopped. Finished runs are kept; run the same command again to continue.", err=True)
        sys.exit(130)


def _evaluate(options: dict[str, Any], out: Path, place: Workplace) -> None:
    """The rows that were asked for, on the test part, each run once."""
    from ..device import pick_device
    from ..report import testing
    from ..report.reproduction import Reproduction
    from .terminal.console import console

    made = Reproduction(out)
    results = [made.results[key] for key in dict.fromkeys(made.keys.values()) if key in made.results]
    left = testing.missing(out, [one.key for one in results if one.run is not None])
    if left:
        console.print(f"Evaluating {len(left)} runs on the test part, once")
    testing.evaluate(out, results, place, str(pick_device(options["device"])))


def _show(made: Any) -> None:
    """Prints Table III's accuracies, and what is missing."""
    from ..report.paper_sections import ablations
    from .terminal.console import console, grid

    for key, why in list(made.missing.items())[:5]:
        console.print(f"missing: {key}: {why}", style="red", markup=False)
    if "table-3" in made.tables:
        section = ablations(made.tables["table-3"], made)[0]
        if section.table is not None:
            console.print(section.caption, markup=False)
            console.print(grid([str(name) for name in section.table], section.table.to_numpy().tolist()))
