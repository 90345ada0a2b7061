"""`itin evaluate`: the test figures again, from the checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from .terminal.options import options_of, usage_errors
from .terminal.run_options import Computing


@click.command("evaluate")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder, if the stores have moved since training.")
@options_of(Computing, "device")
def command(run: Path, cache: Path | None, device: str) -> None:
    """Compute RUN's test figures again, from its checkpoint and its stores."""
    from ..device import pick_device
    from ..train.features.find import stores_of_run
    from ..train.features.load import load_features
    from ..train.runs.evaluation import evaluate
    from ..train.runs.folder import load_run
    from .terminal.scores import show_scores
    from .train import show_note

    opened = load_run(run)
    with usage_errors():
        where = pick_device(device)
    found = stores_of_run(opened, cache)
    config, allow_missing = opened.config, True  # `evaluate` itself requires every pair of the run
    features = load_features(
        found.table,
        found.stores,
        config.regions,
        config.keep_special,
        allow_missing=allow_missing,
        inputs=opened.inputs,
        lexicons=opened.lexicons,
        targets=config.targets,
    )
    scores = evaluate(opened, features, where)
    show_scores({"test": scores}, opened.record["split"], opened.target_name)
    show_note(opened.note)
