"""`itin sweep`: many configurations, each trained once."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..parts import cores
from ..train.config import REPEATS, TrainConfig
from .options import STORES, feature_options, part, protocol_of, protocol_options, speed_options, usage_errors
from .terminal.signals import stop_on_signals

if TYPE_CHECKING:
    from ..train.pool import Event
    from ..train.sweep import Definition, Sweep
    from ..train.sweep_run import Workplace

_MODES = ("grid", "paper", "random", "optuna")


@click.command("sweep", short_help="Train many configurations: a grid, the paper's axes, a search.")
@click.option("--head", help="Which heads, with commas between, or all.")
@click.option("--preset", help="Readings of the paper: paper, official or both.")
@click.option("--m", help="Regions of an image, such as 0:6.")
@click.option("--lam", help="λ of eq. 18, such as 0:1:0.1.")
@click.option("--ablation", help="What is left out: all, or some with commas between.")
@click.option("--gate", help="Reading of eq. 8: scalar, vector or all.")
@click.option("--seeds", default="1", show_default=True, help="How many seeds each, from 0; or which, such as 3,7.")
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUES", help="Any field: d=256,512. Repeatable.")
@click.option("--grid", is_flag=True, help="All combinations (the default).")
@click.option(
    "--paper", is_flag=True, help="m, λ and ablation one at a time through m = 2, λ = 0.2: Figs. 5, 6, Table III."
)
@click.option("--random", type=click.IntRange(1), metavar="N", help="So many of the combinations, drawn.")
@click.option(
    "--optuna", type=click.IntRange(1), metavar="N", help="So many of them, by a guided search (needs Optuna)."
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="DIR", help="Continue a sweep that was interrupted.")
@click.option("--retry-failed", is_flag=True, help="With --resume: also train again what has failed.")
@click.option("--reveal-test", is_flag=True, help="At the end, evaluate the best by validation on the test part, once.")
@click.option("--workers", type=click.IntRange(1), help="Processes; by default one a core, or one on a GPU.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each process.")
@click.option(
    "--stack", type=click.IntRange(1), help="Train so many side by side; by default what memory allows on a GPU."
)
@speed_options
@protocol_options
@click.option("--dataset", help="The data set's name in the cache; may be left out if there is only one.")
@feature_options
@click.option("--out", type=click.Path(path_type=Path), help="Sweep folder; by default a new one in ./runs.")
@click.option("--tensorboard", type=click.Path(path_type=Path), metavar="DIR", help="Also write event files there.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--plan", is_flag=True, help="Only make the sweep folder: what parts start from.")
@click.option(
    "--part", type=part, metavar="i/N", help="With --resume: only the runs of part i of N (i from 0), no table."
)
@click.option("--consolidate", is_flag=True, help="With --resume: only write the table, once all parts are through.")
def command(**options: Any) -> None:
    """Train many configurations on the same features, and compare them on the validation part.

    Values are lists (2,5), ranges with both ends (0:6, 0:1:0.1) or all; a field that is left out keeps the default of
    `itin train`. Equal configurations are trained once. An interrupted sweep continues with --resume: finished runs are
    kept. The test split is not evaluated unless --reveal-test is given. Exit code 1 if any run has failed.

    \b
      itin sweep --paper --seeds 5
      itin sweep --m 1:3 --set d=256,512 --set lr=0.001,0.0003
      itin sweep --m 0:6 --lam 0:1:0.1 --set d=256,512,1024 --optuna 40
    """
    from ..device import pick_device
    from ..train.sweep import Sweep, check_none_failed
    from ..train.sweep_run import check_same, locked, run
    from .terminal.console import console
    from .terminal.sweep_display import Display, show_best, show_test
    from .train import event_files, short, show_data, show_note

    _check_stages(options)
    if options["consolidate"]:
        _consolidate(Sweep(options["resume"]))
        return
    with usage_errors():
        device = pick_device(options["device"])
    if options["stack"] is None and device.type != "cuda" and not options["plan"]:
        _refuse_one_by_one(options)
    if options["resume"] is not None:
        _refuse_with_resume(options)
        sweep = Sweep(options["resume"])
        place = _workplace_of(sweep, options["cache"])
        check_same(sweep, place)
    else:
        if options["retry_failed"]:
            raise click.UsageError("--retry-failed goes with --resume DIR")
        sweep, place = _new(
            options,
            lambda found, place: show_data(found.stores, place, place.splitter.outside),
        )
    console.print(f"Sweep: {short(sweep.path)}", markup=False)
    if options["plan"]:
        return
    source = None
    if sweep.definition.mode == "optuna":
        from ..train.guided import Guided, check_installed

        check_installed()
        source = Guided
    _show_plan(sweep.definition)
    workers = options["workers"] or (max(1, cores() // options["threads"]) if device.type == "cpu" else 1)
    with usage_errors():
        gru = prepare(options["gru"], device, sweep.definition, place, console.print)
    if options["part"] is not None:
        _run_part(sweep, place, options, workers, str(device), gru)
        return
    with locked(sweep.path):
        sweep = Sweep(sweep.path)  # as whoever held the lock before has left it
        try:
            with event_files(options["tensorboard"]) as files, Display() as display:

                def listen(event: Event) -> None:
                    display.listen(event)
                    if files is not None:
                        files.listen(event)

                run(
                    sweep, place, source, workers=workers, threads=options["threads"], device=str(device), gru=gru,
                    retry=options["retry_failed"], stack=options["stack"], begin=display.begin, listen=listen,
                    graphs=options["cuda_graphs"], precision=options["precision"],
                )  # fmt: skip
        except KeyboardInterrupt:
            click.echo(f"Stopped. Finished runs are kept; continue with: itin sweep --resume {sweep.path}", err=True)
            sys.exit(130)
        _show_exhausted(sweep.definition)
        show_best(sweep)
        if options["reveal_test"]:
            from ..train.reveal import reveal

            show_test(reveal(sweep, place, str(device)))
    show_note(["untrained"] if sweep.definition.untrained else [])
    console.print(f"Results: {short(sweep.path / 'results.csv')}", markup=False)
    check_none_failed(sweep)


def _check_stages(options: dict[str, Any]) -> None:
    """--plan, --part and --consolidate exclude each other, and the last two go on with a sweep."""
    named = [name for name in ("plan", "part", "consolidate") if options[name]]
    if len(named) > 1:
        raise click.UsageError(f"--{named[0]} and --{named[1]} exclude each other")
    if named and named != ["plan"] and options["resume"] is None:
        raise click.UsageError(f"--{named[0]} goes with --resume DIR; --plan makes the folder")
    if named and (options["retry_failed"] or options["reveal_test"]):
        raise click.UsageError(
            f"--retry-failed and --reveal-test do not go with --{named[0]}: resume the sweep with them"
        )


def _run_part(sweep: Sweep, place: Workplace, options: dict[str, Any], workers: int, device: str, gru: str) -> None:
    """One part of a sweep; exit code 0 only when all of its runs have ended."""
    from ..errors import RUN_AGAIN
    from ..train.sweep_parts import run_part
    from ..train.sweep_run import locked
    from .terminal.sweep_display import Display

    with locked(sweep.path, shared=True), stop_on_signals() as stop, Display() as display:
        left = run_part(
            sweep, place, options["part"], stop, workers=workers, stack=options["stack"], begin=display.begin,
            listen=display.listen, threads=options["threads"], device=device, gru=gru,
            graphs=options["cuda_graphs"], precision=options["precision"],
        )  # fmt: skip
    if left:
        click.echo(f"Stopped by a signal: {left} runs are left. Run the command again to continue.", err=True)
        sys.exit(RUN_AGAIN)


def _consolidate(sweep: Sweep) -> None:
    """The table of results, when every run has one."""
    from ..train.sweep import check_none_failed
    from ..train.sweep_parts import consolidate
    from .terminal.console import console
    from .terminal.sweep_display import show_best
    from .train import short, show_note

    consolidate(sweep)
    show_best(sweep)
    show_note(["untrained"] if sweep.definition.untrained else [])
    console.print(f"Results: {short(sweep.path / 'results.csv')}", markup=False)
    check_none_failed(sweep)


def _new(options: dict[str, Any], show: Any) -> tuple[Sweep, Workplace]:
    """A new sweep from the command's options."""
    from ..paths import cache_root
    from ..train.axes import make_plan, parse_seeds, parse_settings, parse_values, views_of
    from ..train.find import find_features
    from ..train.sweep_run import Workplace, create
    from .train import free

    modes = [mode for mode in _MODES if options[mode]]
    if len(modes) > 1:
        raise click.UsageError(f"--{modes[0]} and --{modes[1]} exclude each other")
    mode = modes[0] if modes else "grid"
    number = options[mode] if mode in ("random", "optuna") else None
    protocol = protocol_of(options)
    with usage_errors():
        axes = {
            name: parse_values(name, options[name])
            for name in ("head", "preset", "m", "lam", "ablation", "gate")
            if options[name] is not None
        }
        axes |= parse_settings(options["settings"])
        if "seed" in axes:
            raise ValueError("seed: expected --seeds instead")
        seeds = parse_seeds(options["seeds"])
        folds = axes.get("fold", tuple(range(protocol.folds or 1)))
        if mode == "optuna" and len(folds) > 1:
            raise ValueError("a guided search compares on one validation part: choose a fold with --set fold=0")
        plan = make_plan(mode, axes, seeds, number, folds)
    if mode == "optuna":
        from ..train.guided import check_installed

        check_installed()
    configs = [place.config for place in plan.places]
    regions = max([config.regions for config in configs] or axes.get("m", (TrainConfig.m,)))
    views = views_of(configs, axes)
    named = {kind: options[option] for kind, option in STORES.items()}
    found = find_features(cache_root(options["cache"]), options["dataset"], named, regions=regions > 0, views=views)
    place = Workplace(found.table, found.stores, regions, views, protocol, allow_missing=options["allow_missing"])
    show(found, place)
    out = options["out"] or free(Path("runs") / f"sweep-{datetime.now():%Y%m%d-%H%M%S}-{mode}")
    definition = {
        "mode": mode,
        "axes": {name: list(values) for name, values in axes.items()},
        "seeds": list(seeds),
        "number": number,
        "folder": str(found.table.folder.resolve()),
    }
    return create(out, plan, place, **definition), place


def _workplace_of(sweep: Sweep, cache: Path | None) -> Workplace:
    """The features that a sweep was begun on."""
    import csv

    from ..cache import open_store, read_table
    from ..errors import RunError
    from ..train.axes import views_of
    from ..train.sweep_run import Workplace

    definition = sweep.definition
    folder = Path(definition.folder) if cache is None else cache / Path(definition.folder).name
    stores = {}
    for kind, entry in definition.stores.items():
        path = Path(entry["path"]) if cache is None else folder / Path(entry["path"]).name
        if not path.is_dir():
            raise RunError(
                f"the {kind} features of the sweep {sweep.path} are gone",
                expected=str(path),
                next_step="name the cache folder with --cache, or run the same `itin extract` again",
            )
        stores[kind] = open_store(path)
    parts = None
    if definition.split is not None:
        with (sweep.path / "split.csv").open(encoding="utf-8", newline="") as file:
            parts = {row["id"]: row["part"] for row in csv.DictReader(file)}
    search = definition.axes if definition.mode == "optuna" else {}
    views = views_of([place.config for place, _ in definition.places] if not search else [], search)
    return Workplace(
        read_table(folder),
        stores,
        definition.regions,
        views,
        definition.protocol_used,
        parts,
        definition.split,
        allow_missing=True,  # the sweep keeps the samples that it was begun on: `check_same`
    )


def prepare(gru: str, device: Any, definition: Definition, place: Workplace, say: Any) -> str:
    """Build the C++ recurrence before the workers start, if any run is going to use it, or try the fused cells."""
    from ..train.recurrence import choose, side_by_side

    if device.type == "cuda":
        side_by_side(gru, device, say)
    configs = [one.config for one, _ in definition.places]
    if definition.mode == "optuna":
        configs = [TrainConfig(d=max(definition.axes.get("d", [TrainConfig.d])))]
    work = max((place.work(config) for config in configs), default=0.0) if gru == "auto" else 0.0
    chosen = choose(gru, device, work, say)
    return "packed" if chosen == "packed" else gru  # each run chooses again by its own work, as it would alone


def _refuse_one_by_one(options: dict[str, Any]) -> None:
    """Worker processes, which train one run after another, know nothing of these."""
    given = {"--cuda-graphs": options["cuda_graphs"], "--precision": options["precision"] != "float32"}
    for flag, is_given in given.items():
        if is_given:
            raise click.UsageError(f"{flag} is for runs side by side: expected a GPU, or --stack J")


def _refuse_with_resume(options: dict[str, Any]) -> None:
    """A sweep that goes on keeps what it was begun with."""
    context = click.get_current_context()
    allowed = {
        "resume",
        "retry_failed",
        "reveal_test",
        "workers",
        "threads",
        "stack",
        "cuda_graphs",
        "precision",
        "gru",
        "cache",
        "device",
    }
    allowed |= {"part", "consolidate", "tensorboard"}
    for name in options:
        source = context.get_parameter_source(name)
        if name not in allowed and source is click.core.ParameterSource.COMMANDLINE:
            flag = next(one.opts[0] for one in context.command.params if one.name == name)
            raise click.UsageError(f"{flag} cannot be changed with --resume: the sweep goes on as it was begun")


def _show_plan(definition: Definition) -> None:
    from .terminal.console import console

    console.print(f"protocol {definition.protocol_used}", markup=False)
    if definition.mode == "optuna":
        console.print(f"{definition.number} configurations by a guided search, {len(definition.seeds)} seeds each")
    else:
        runs = len({key for _, key in definition.places})
        same = len(definition.places) - runs
        each = {tuple(getattr(place.config, name) for name in REPEATS) for place, _ in definition.places}
        text = f"{runs} runs: {runs // len(each)} configurations, {len(definition.seeds)} seeds each"
        if (folds := len({place.config.fold for place, _ in definition.places})) > 1:
            text += f" on each of {folds} folds"
        console.print(text + (f"; {same} places repeat a run" if same else ""), markup=False)
    if definition.left_out:
        console.print(f"left out: {len(definition.left_out)} combinations that are no configuration", style="yellow")
        for reason in definition.left_out[:3]:
            console.print(f"  {reason}", style="yellow", markup=False)


def _show_exhausted(definition: Definition) -> None:
    """Say so where a guided search has tried all that there is."""
    from .terminal.console import console

    tried = len({key for _, key in definition.places}) // len(definition.seeds)
    if definition.mode == "optuna" and tried < (definition.number or 0):
        console.print(
            f"The search has tried all {tried} configurations that its axes hold, fewer than the {definition.number}"
            " asked for",
            style="yellow",
        )
