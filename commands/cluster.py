"""`itin cluster`: a command in parts on a shared cluster."""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..cluster.site import Site, read_site
from ..fields import check, option
from .terminal.json_output import json_option, print_json
from .terminal.options import Command, given, options_of, take, usage_errors

if TYPE_CHECKING:
    from ..cluster.status import Status
    from ..cluster.submission import Submission
    from ..cluster.work import Missing, Prepared, Work

MAX_NUMBERS_LENGTH = 200
"""The maximum length of a list of numbers in `status`."""


@dataclass(frozen=True, repr=False, eq=False)
class SubmitOptions:
    """How a command is submitted; the options of its jobs are those of `Site`."""

    engine: str = option("slurm", choices=("slurm", "dask"), group="In parts")
    """What schedules the parts."""
    jobs: int = option(16, least=1)
    """Number of parts, each one task."""
    retries: int = option(3, least=0)
    """How often in a row missing parts are resubmitted without progress."""
    site: Path | None = option(None, metavar="FILE", group="Slurm")
    """YAML file with a site's defaults; by default $ITIN_SITE, else ~/.config/itin/site.yaml."""
    dry_run: bool = False
    """Only write the scripts."""
    scheduler: str | None = option(None, metavar="ADDRESS", group="Dask")
    """The scheduler: tcp://host:port or tls://host:port."""
    tls_ca: Path | None = option(None, metavar="FILE")
    """Certificate of the authority."""
    tls_cert: Path | None = option(None, metavar="FILE")
    """Certificate of this client."""
    tls_key: Path | None = option(None, metavar="FILE")
    """Key of this client."""
    wait: bool = option(True, switch=True)
    """Wait until all parts are done."""

    def __post_init__(self) -> None:
        check(self)
        for name in ("site", "tls_ca", "tls_cert", "tls_key"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise ValueError(f"--{name.replace('_', '-')}: there is no file {path}")
        if len({path is None for path in (self.tls_ca, self.tls_cert, self.tls_key)}) > 1:
            raise ValueError("--tls-ca, --tls-cert and --tls-key belong together")
        if self.engine == "dask" and self.scheduler is None:
            raise ValueError("--engine dask needs --scheduler ADDRESS")
        if self.engine == "dask" and self.dry_run:
            raise ValueError("--dry-run writes Slurm's scripts; there are none for Dask")


@click.group("cluster")
def command() -> None:
    """Run a command in parts on a shared cluster: one command gives a complete cache, whatever dies on the way."""


@command.command("submit", cls=Command, short_help="Submit a command in parts.")
@options_of(SubmitOptions)
@options_of(Site)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, required=True, metavar="-- extract|sweep [OPTIONS]...")
def submit(words: tuple[str, ...], **options: Any) -> None:
    """Submit a command in parts, such as `itin cluster submit --jobs 16 --gpus 1 -- extract --dataset mvsa-multiple`.

    The data set is scanned and the encoders are loaded here first, so that errors show at once. Slurm then
    receives an array with one task per part, a job that runs after it and resubmits what is missing, and the
    consolidation, which verifies every shard and writes the manifests. Submitting again does no harm. `-- sweep ...`
    trains the runs of a sweep in the same way.
    """
    from ..cluster.works import work_of
    from .terminal.submitted import prepare

    typed = given(options, Site)
    asked = take(SubmitOptions, options)
    with usage_errors():
        work = work_of(words[0])
        if asked.engine == "dask" and work.name != "extract":
            raise ValueError(f"--engine dask runs parts of extract; `{work.name}` runs on Slurm")
        site = read_site(asked.site).overridden(typed)
        prepared = prepare(words)
        device = prepared.config.get("device", "")
        if asked.engine == "dask" and (device == "all" or "," in device):
            raise ValueError(f"--device {device} runs on Slurm; for Dask start a worker for each device")
    submission = _submission(asked, work, prepared, site)
    missing = work.missing(submission)
    if prepared.note:
        click.echo(prepared.note)
    parts = f"{len(missing.parts)} of {asked.jobs} parts"
    click.echo(f"{missing.wanted} {work.pieces} wanted, {missing.pieces} missing, in {parts}")
    if asked.engine == "dask":
        _submit_to_dask(submission, asked, missing, prepared.allow)
    else:
        _submit_to_slurm(submission, site, work, missing, asked.dry_run)


def _submission(asked: SubmitOptions, work: Work, prepared: Prepared, site: Site) -> Submission:
    from ..cluster import submission as submissions

    number = submissions.new_id()
    submission = submissions.Submission(
        folder=prepared.folder / submissions.FOLDER / number,
        id=number,
        engine=asked.engine,
        work=work.name,
        words=prepared.words,
        parts=asked.jobs,
        retries=asked.retries,
        at_once=site.at_once,
        stores=prepared.stores,
        limit=prepared.limit,
        created=time.time(),
        directory=str(Path.cwd()),
        config=prepared.config,
    )
    submissions.write(submission)
    return submission


def _submit_to_slurm(submission: Submission, site: Site, work: Work, missing: Missing, dry_run: bool) -> None:
    from ..cluster import environment
    from ..cluster.scripts import PARTS, options_of_site, write_scripts
    from ..cluster.slurm_chain import launch

    for line in environment.describe(os.environ, options_of_site(site, PARTS)):
        click.echo(line)
    for path in write_scripts(submission, site, work).values():
        click.echo(f"wrote {path}")
    if dry_run:
        click.echo("Nothing was submitted.")
        return
    chain = launch(submission, missing.parts, submission.retries, missing.pieces)
    if chain.arrays:
        click.echo(f"job {', '.join(chain.arrays)}: the parts")
        click.echo(f"job {chain.resubmission}: the resubmission after them")
    click.echo(f"job {chain.consolidation}: the consolidation")
    click.echo(f"follow: itin cluster status {shlex.quote(str(submission.folder))}")
    click.echo(f"        tail -f {shlex.quote(str(submission.logs))}/*.log")
    click.echo(f"cancel: {environment.unset(os.environ, 'SCANCEL_')}scancel --name={submission.name}")


def _submit_to_dask(submission: Submission, asked: SubmitOptions, missing: Missing, allow: tuple[str, ...]) -> None:
    from ..cluster.dask_engine import DaskRun, Tls, connect

    ca, cert, key, scheduler = asked.tls_ca, asked.tls_cert, asked.tls_key, asked.scheduler or ""
    tls = Tls(ca, cert, key) if ca is not None and cert is not None and key is not None else None
    with usage_errors(), connect(scheduler, tls) as client:
        run = DaskRun(submission, client, allow)
        last = run.submit(sorted(missing.parts))
        click.echo(f"left {len(missing.parts)} parts to {scheduler}; they continue even if this process ends")
        click.echo(f"follow: itin cluster status {shlex.quote(str(submission.folder))}")
        if asked.wait:
            run.wait(last, lambda now: click.echo(f"{now.wanted - now.pieces}/{now.wanted}"))
            click.echo("Done.")


@command.command("status", short_help="Show the progress of a submission.")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Cache folder whose newest submission is shown; by default $ITIN_CACHE, else ~/.cache/itin/features.",
)
@json_option
def status(folder: Path | None, cache: Path | None, as_json: bool) -> None:
    """Show the progress of the submission in FOLDER (by default the newest), and the last error.

    Progress is read from committed shards, errors from the logs; no accounting database is needed.
    """
    from ..cluster import submission as submissions
    from ..cluster.status import status_of
    from ..paths import cache_root

    if folder is None:
        found = submissions.find(cache_root(cache))
        if not found:
            raise submissions.ClusterError(
                f"{cache_root(cache)} holds no submission", next_step="make one with `itin cluster submit`"
            )
        folder = found[-1]
    found_status = status_of(submissions.read(folder))
    if as_json:
        print_json({**vars(found_status), "seconds_left": found_status.seconds_left})
    else:
        show(found_status)


def show(status: Status) -> None:
    """Print a status."""
    from ..cache.format.ranges import to_ranges
    from ..cluster.scripts import PARTS

    submission, missing = status.submission, status.missing
    done = missing.wanted - missing.pieces
    click.echo(f"{submission.id}: itin {submission.work} in {submission.parts} parts on {submission.engine}")
    share = f" ({100 * done // missing.wanted} %)" if missing.wanted else ""
    given_up = f", {missing.given_up} of them given up" if missing.given_up else ""
    click.echo(f"  {status.pieces:<12}{done} of {missing.wanted} done{share}{given_up}")
    if missing.parts:
        click.echo(f"  missing     parts {_short(to_ranges(missing.parts))}")
    if missing.pieces:
        left = status.seconds_left
        rate = "none yet" if left is None else f"{status.rate:.1f} {status.pieces}/s, time left {_duration(left)}"
        click.echo(f"  rate        {rate}")
    if submission.engine == "slurm" and not status.reachable:
        click.echo("  tasks       squeue is not available here")
    elif submission.engine == "slurm":
        waiting = sum(task.role == PARTS and task.state != "RUNNING" for task in status.tasks)
        numbers = _short(", ".join(f"{task.job} on {task.where}" for task in status.running))
        click.echo(f"  tasks       {len(status.running)} run, {waiting} wait" + (f": {numbers}" if numbers else ""))
        for task in status.tasks:
            if task.role != PARTS:
                click.echo(f"  {task.role:<12}job {task.job}: {task.state} {task.where}")
    for failure in status.failures:
        click.echo(f"  last error  {failure.what}, job {failure.job} on {failure.node}: {failure.error}")
        click.echo(f"              {failure.log}")
    click.echo(f"  consolidated: {'yes' if status.consolidated else 'not yet'}")
    if not status.consolidated and status.reachable and not status.tasks:
        click.echo("None of its jobs is in the queue: submit the same command again to continue.")


def _short(text: str) -> str:
    return text if len(text) <= MAX_NUMBERS_LENGTH else text[: MAX_NUMBERS_LENGTH - 4] + " ..."


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


@command.command("resubmit", short_help="Submit again what a submission lacks; its jobs call this.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--left",
    type=int,
    default=3,
    show_default=True,
    metavar="N",
    help="How many more retries in a row may bring nothing new.",
)
@click.option(
    "--before",
    type=int,
    default=-1,
    show_default=True,
    metavar="N",
    help="Pieces that were missing after the last round; -1: there was none.",
)
def resubmit(folder: Path, left: int, before: int) -> None:
    """Submit again what the submission in FOLDER lacks; if that is nothing, start its consolidation."""
    from ..cluster import slurm_chain as chain
    from ..cluster import submission as submissions

    click.echo(chain.resubmit(submissions.read(folder), left, before))


# Scripts of submissions written before call it by this name.
command.add_command(
    click.Command("sweep", callback=resubmit.callback, params=resubmit.params, help=resubmit.help, hidden=True)
)
