"""The forms by name: which files they read, with which reader, and whether in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from ....errors import DataError
from ....lazy import optional
from ..record import Asked, Item

Lister = Callable[[Path, Asked], Iterator[Item]]
"""A function that lists the samples of one file; raises BadFile where the file itself cannot be used."""


@dataclass(frozen=True)
class Form:
    """A form in which other tools write features."""

    name: str
    lister: str
    """`module:function` of its `Lister`, in this folder; loaded when it is needed."""
    endings: tuple[str, ...]
    """The endings of its files."""
    isolated: bool = False
    """Whether its files are read in a child process: their libraries trust what they read."""
    alone: bool = False
    """Whether a folder can be one file of the form (LMDB)."""
    by: str = "id"
    """What the names of its samples are by default: ids, or texts."""
    map: dict[str, str] = field(default_factory=dict)
    """The names of its arrays by ours, where they are not among `naming.ALIASES`."""
    kinds: tuple[str, ...] = ()
    """The kinds of feature that it can hold; all by default."""
    package: str = ""
    """The package that reads it, where not every installation has it."""

    def lists(self) -> Lister:
        """Load the function that lists the samples of a file.

        Raises:
            DataError: its package is not installed.
        """
        if self.package:
            optional(self.package, f"the form {self.name} needs {self.package}", "itin[features]", DataError)
        module, function = self.lister.split(":")
        lister: Lister = getattr(import_module(f".{module}", __package__), function)
        return lister


FORMS = {
    form.name: form
    for form in (
        Form("bua-npz", "bua:list_npz", (".npz",), kinds=("regions",)),
        Form("bua-tsv", "bua:list_tsv", (".tsv",), kinds=("regions",)),
        Form("npz", "numpy_files:listed", (".npz", ".npy")),
        Form("hdf5", "hdf5:listed", (".h5", ".hdf5"), isolated=True),
        Form("parquet", "arrow:list_parquet", (".parquet",), package="pyarrow"),
        Form("arrow", "arrow:list_arrow", (".arrow", ".feather"), package="pyarrow"),
        Form("safetensors", "safetensors_files:listed", (".safetensors",)),
        Form("lmdb", "lmdb_files:listed", (".mdb", ".lmdb"), isolated=True, alone=True, package="lmdb"),
        Form("mmsa-fet", "mmsa_fet:listed", (".pkl",), isolated=True),
        Form(
            "multisentinet",
            "hdf5:listed",
            (".h5", ".hdf5"),
            isolated=True,
            by="text",
            map={"ids": "txt_data", "context": "object_data", "scene": "scene_data"},
            kinds=("context", "scene"),
        ),
    )
}
"""The forms by the name that `--from` takes."""


def guessed(source: Path) -> list[str]:
    """Return the forms that a source may be of, by the endings of its files; a tool's own where no general one fits."""
    endings = {source.suffix.lower()} if source.is_file() else {one.suffix.lower() for one in source.rglob("*.*")}
    fitting = [form for form in FORMS.values() if endings.intersection(form.endings)]
    general = {ending for form in fitting if not form.kinds for ending in form.endings}
    return [form.name for form in fitting if not form.kinds or general.isdisjoint(form.endings)]
