"""`itin sweep`: many configurations, each trained once."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ..fields import check, option
from ..train.config import REPEATS, TrainConfig
from ..train.presets import PresetOptions, space_of
from .terminal.options import Command, given, options_of, reject_set, take, usage_errors
from .terminal.run_options import Computing, FeatureOptions, OutputOptions, ProtocolOptions
from .terminal.signals import stop_on_signals

if TYPE_CHECKING:
    from pathlib import Path

    from ..parts import Part
    from ..train.sweeps.folder import Definition, Sweep
    from ..train.sweeps.prepare import SweepData
    from ..train.sweeps.setup import Event

_FIRST_AXES = ("head", "preset", "m", "lam", "ablation", "gate")
"""The axes that change slowest, whatever the order of the options."""


@dataclass(frozen=True, repr=False, eq=False)
class SweepOptions:
    """The combinations to train, and what is done with them."""

    grid: bool = option(False, group="The search")
    """All combinations (the default)."""
    paper: bool = False
    """m, λ and ablation one at a time through m = 2, λ = 0.2: Figs. 5, 6, Table III."""
    random: int | None = option(None, least=1)
    """Train N of the combinations, drawn at random."""
    optuna: int | None = option(None, least=1)
    """Train N of them, chosen by a guided search (needs Optuna)."""
    seeds: str = option("1", metavar="SEEDS")
    """How many seeds each, from 0; or which, such as 3,7."""
    inner_folds: int | None = option(None, least=2)
    """Score each configuration on K folds of the training part, and train the best on all of it: the usual validation
    part then only chooses its epoch. With --protocol folds:K in each of its training parts apart."""
    resume: Path | None = option(None, metavar="DIR")
    """Continue a sweep that was interrupted."""
    retry_failed: bool = False
    """With --resume: also train again what has failed."""
    reveal_test: bool = False
    """At the end, evaluate the best by validation on the test part, once."""
    plan: bool = option(False, group="In parts")
    """Only make the sweep folder: what parts start from."""
    part: Part | None = option(None)
    """With --resume: only the runs of part i of N (i from 0), no table."""
    consolidate: bool = False
    """With --resume: only write the table, once all parts are through."""

    def __post_init__(self) -> None:
        check(self)
        if len(modes := self._modes) > 1:
            raise ValueError(f"--{modes[0]} and --{modes[1]} exclude each other")
        stages = [name for name in ("plan", "part", "consolidate") if getattr(self, name)]
        if len(stages) > 1:
            raise ValueError(f"--{stages[0]} and --{stages[1]} exclude each other")
        if stages and stages != ["plan"] and self.resume is None:
            raise ValueError(f"--{stages[0]} goes with --resume DIR; --plan makes the folder")
        if stages and (self.retry_failed or self.reveal_test):
            raise ValueError(
                f"--retry-failed and --reveal-test do not go with --{stages[0]}: resume the sweep with them"
            )
        if self.inner_folds is not None and stages:
            raise ValueError("--inner-folds does not go with parts: what is trained in the end depends on all results")
        if self.retry_failed and self.resume is None:
            raise ValueError("--retry-failed goes with --resume DIR")

    @property
    def _modes(self) -> list[str]:
        return [name for name in ("grid", "paper", "random", "optuna") if getattr(self, name)]

    @property
    def mode(self) -> str:
        """The way to choose configurations, one of `train.sweeps.axes.MODES`."""
        return (*self._modes, "grid")[0]


@click.command("sweep", cls=Command)
@options_of(SweepOptions)
@options_of(TrainConfig, but=("seed",), many=True)
@options_of(PresetOptions, many=True)
@options_of(ProtocolOptions)
@options_of(FeatureOptions)
@options_of(Computing)
@options_of(OutputOptions)
@reject_set
def command(**options: Any) -> None:
    """Train many configurations on the same features, and compare them on the validation part.

    Every option of `itin train` takes several values: lists (2,5), ranges with both ends (0:6, 0:1:0.1), true,false for
    a switch, all where the values have names; what is left out keeps its default. Equal configurations are trained
    once. An interrupted sweep continues with --resume: finished runs are kept. The test part is evaluated with
    --reveal-test alone. Exit code 1 if any run has failed, however many have not.

    \b
      itin sweep --paper --seeds 5
      itin sweep --m 1:3 --d 256,512 --lr 1e-3,3e-4
      itin sweep --head itin,concat --preset paper,official --seeds 5
      itin sweep --m 0:6 --lam 0:1:0.1 --d 256,512,1024 --optuna 40
    """
    from ..device import pick_device
    from ..train.sweeps.folder import Sweep, check_none_failed, locked
    from ..train.sweeps.prepare import data_of
    from ..train.sweeps.run import run
    from .terminal.console import console
    from .terminal.sweep_display import Display, show_best, show_chosen, show_test
    from .train import event_files, short, show_note

    own = take(SweepOptions, options)
    if own.resume is not None:
        _reject_changes_on_resume()
    wanted, computing, output = take(FeatureOptions, options), take(Computing, options), take(OutputOptions, options)
    if own.resume is not None and own.consolidate:
        _consolidate(Sweep(own.resume))
        return
    with usage_errors():
        device = pick_device(computing.device)
    if computing.stack is None and device.type != "cuda" and not own.plan:
        _reject_side_by_side_options(computing)
    if own.resume is not None:
        sweep = Sweep(own.resume)
        data = data_of(sweep, wanted.cache)
    else:
        sweep, data = _new(own, options, wanted, output.out)
    console.print(f"Sweep: {short(sweep.path)}")
    if own.plan:
        return
    source: Any = None
    if sweep.definition.mode == "optuna":
        from ..train.sweeps.search import Search, check_installed

        check_installed()
        source = Search
    if sweep.definition.inner_folds:
        from ..train.sweeps.nested import Nested

        source = Nested
    _show_plan(sweep.definition)
    with usage_errors():
        gru = prepare(computing.gru, device, sweep.definition, data, console.print)
    settings = computing.arguments(device, gru)
    if own.part is not None:
        _run_part(sweep, data, own.part, settings)
        return
    with locked(sweep.path):
        sweep = Sweep(sweep.path)  # as the previous holder of the lock left it
        try:
            with event_files(output.tensorboard) as files, Display(data.select) as display:

                def listen(event: Event) -> None:
                    display.listen(event)
                    if files is not None:
                        files.listen(event)

                run(
                    sweep, data, source=source, retry=own.retry_failed, begin=display.begin, listen=listen, **settings
                )  # fmt: skip
        except KeyboardInterrupt:
            click.echo(f"Stopped. Finished runs are kept; continue with: itin sweep --resume {sweep.path}", err=True)
            sys.exit(130)
        _show_exhausted(sweep.definition)
        show_chosen(sweep) if sweep.definition.inner_folds else show_best(sweep)
        if own.reveal_test:
            from ..train.sweeps.reveal import reveal

            show_test(reveal(sweep, data, str(device)))
    show_note(sweep.definition.note)
    console.print(f"Results: {short(sweep.path / 'results.csv')}")
    check_none_failed(sweep)


def _run_part(sweep: Sweep, data: SweepData, part: Part, settings: dict[str, Any]) -> None:
    """Train one part of a sweep; exit with code 0 only if all of its runs have ended."""
    from ..errors import RUN_AGAIN
    from ..train.sweeps.folder import locked
    from ..train.sweeps.run import run
    from .terminal.sweep_display import Display

    with locked(sweep.path, shared=True), stop_on_signals() as stop, Display(data.select) as display:
        results = run(sweep, data, part, stop=stop, begin=display.begin, listen=display.listen, **settings)
    if left := len(sweep.definition.missing(results, part)):
        click.echo(f"Stopped by a signal: {left} runs are left. Run the command again to continue.", err=True)
        sys.exit(RUN_AGAIN)


def _consolidate(sweep: Sweep) -> None:
    """Write the table of results, once every run has one."""
    from ..train.sweeps.folder import check_none_failed, consolidate
    from .terminal.console import console
    from .terminal.sweep_display import show_best
    from .train import short, show_note

    consolidate(sweep)
    show_best(sweep)
    show_note(sweep.definition.note)
    console.print(f"Results: {short(sweep.path / 'results.csv')}")
    check_none_failed(sweep)


def _new(
    own: SweepOptions, options: dict[str, Any], wanted: FeatureOptions, out: Path | None
) -> tuple[Sweep, SweepData]:
    """Create a sweep from the command's options."""
    from pathlib import Path

    from ..train.sweeps.axes import Trial, inner_of, make_plan, parse_seeds, parse_values, readers
    from ..train.sweeps.prepare import SweepData, create
    from .train import free, show_data

    mode, number = own.mode, own.random or own.optuna
    texts = given(options, TrainConfig, PresetOptions)
    with usage_errors():
        protocol = take(ProtocolOptions, options).protocol_of()
        axes = {
            name: parse_values(name, texts[name]) for name in dict.fromkeys((*_FIRST_AXES, *texts)) if name in texts
        }
        seeds = parse_seeds(own.seeds)
        folds = axes.get("fold", tuple(range(protocol.folds or 1)))
        if mode == "optuna" and len(folds) > 1 and own.inner_folds is None:
            raise ValueError(
                "a guided search compares on one validation part: choose a fold with --fold 0, or search inside each "
                "fold's training part with --inner-folds 5"
            )
        presets = axes.get("preset", (PresetOptions.preset,))
        if mode == "optuna" and not any(len(values) > 1 for name, values in axes.items() if name not in REPEATS):
            axes |= space_of({**axes, "preset": presets[0]})
        if own.inner_folds is not None and len(folds) > 1:
            axes["fold"] = folds
        plan = make_plan(mode, axes, seeds, number, folds)
    if mode == "optuna":
        from ..train.sweeps.search import check_installed

        check_installed()
    fits = {preset: wanted.fitted({**axes, "preset": preset}) for preset in presets}
    adapted = {preset: fields for preset, (fields, _) in fits.items() if fields}
    without = [line for _, lines in fits.values() for line in lines]
    inner_folds = own.inner_folds or 0
    plan = make_plan(mode, axes, seeds, number, folds, adapted, inner_folds)
    configs = readers(plan.trials, axes, adapted)
    found = wanted.find(configs)
    data = SweepData(found.table, found.stores, configs, protocol, allow_missing=wanted.allow_missing)
    with usage_errors():  # before anything is written
        places = [replace(configs[0], fold=fold) for fold in folds]
        data.keyed(Trial("", one, inner=inner) for one in places for inner in inner_of(inner_folds))
    show_data(found.stores, data, [*data.splitter.outside, *without])
    out = out or free(Path("runs") / f"sweep-{datetime.now():%Y%m%d-%H%M%S}-{mode}")
    definition = {
        "mode": mode,
        "axes": {name: list(values) for name, values in axes.items()},
        "seeds": list(seeds),
        "number": number,
        "folder": str(found.table.folder.resolve()),
        "adapted": adapted,
        "inner_folds": inner_folds,
    }
    return create(out, plan, data, **definition), data


def prepare(gru: str, device: Any, definition: Definition, data: SweepData, say: Any) -> str:
    """Build the C++ recurrence, if any run will use it, or try the fused cells, before the workers start."""
    from ..itin_head.gru.choose import choose, side_by_side

    if device.type == "cuda":
        side_by_side(gru, device, say)
    configs = [trial.config for trial in definition.trials]
    if definition.mode == "optuna":
        configs = [TrainConfig(d=max(definition.axes.get("d", [TrainConfig.d])))]
    work = max((data.work(config) for config in configs), default=0.0) if gru == "auto" else 0.0
    chosen = choose(gru, device, work, say)
    return "packed" if chosen == "packed" else gru  # each run chooses again by its own size, as it would alone


def _reject_side_by_side_options(computing: Computing) -> None:
    """Reject options that worker processes, which train one run after another, do not support."""
    for name, asked in (("cuda-graphs", computing.cuda_graphs), ("precision", computing.precision != "float32")):
        if asked:
            raise click.UsageError(f"--{name} is for runs side by side: expected a GPU, or --stack J")


def _reject_changes_on_resume() -> None:
    """Reject options that would change a resumed sweep."""
    context = click.get_current_context()
    allowed = {"resume", "retry_failed", "reveal_test", "part", "consolidate", "cache", "tensorboard"}
    allowed |= {field.name for field in fields(Computing)}
    for param in context.command.params:
        source = context.get_parameter_source(param.name or "")
        if param.name not in allowed and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{param.opts[0]} cannot be changed with --resume: the sweep continues as it was begun"
            )


def _show_plan(definition: Definition) -> None:
    from ..train.sweeps.folder import CASE
    from .terminal.console import console, counted

    console.print(f"protocol {definition.protocol_used}")
    if definition.mode == "optuna":
        console.print(
            f"{definition.number} configurations by a guided search, {counted(len(definition.seeds), 'seed')} each"
        )
        inner = CASE if definition.inner_folds else ()
        varied = {name: len(each) for name, each in definition.axes.items() if len(each) > 1 and name not in inner}
        console.print("chosen among: " + ", ".join(f"{name} ({count} values)" for name, count in varied.items()))
    else:
        scored = definition.scored
        runs = len({trial.key for trial in scored})
        same = len(scored) - runs
        each = {(*(getattr(trial.config, name) for name in REPEATS), trial.inner) for trial in scored}
        text = f"{counted(runs, 'run')}: {counted(runs // len(each), 'configuration')}, "
        text += f"{counted(len(definition.seeds), 'seed')} each"
        if (folds := len({trial.config.fold for trial in scored})) > 1 and not definition.inner_folds:
            text += f" on each of {folds} folds"
        console.print(text + (f"; {same} duplicates left out" if same else ""))
    if definition.inner_folds:
        from ..train.sweeps.nested import cases_of

        cases = len(cases_of(definition))
        where = "the training part" if cases == 1 else f"each of {cases} training parts apart"
        console.print(
            f"each is scored on {definition.inner_folds} inner folds of {where}; the best is then trained on all of it"
        )
    if definition.left_out:
        console.print(
            f"left out: {len(definition.left_out)} combinations that are not valid configurations", style="yellow"
        )
        for reason in definition.left_out[:3]:
            console.print(f"  {reason}", style="yellow")


def _show_exhausted(definition: Definition) -> None:
    """Print a note if a guided search has tried all configurations."""
    from .terminal.console import console

    tried = len(definition.runs()) // len(definition.seeds)
    if definition.inner_folds:
        tried = len({trial.axis for trial in definition.scored})
    if definition.mode == "optuna" and tried < (definition.number or 0):
        console.print(
            f"The search has tried all {tried} configurations of its axes, fewer than the {definition.number}"
            " asked for",
            style="yellow",
        )
