"""Options made from dataclass fields: their help, and that what is typed is what the configuration holds."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from itin.cli import main
from itin.cluster.site import Site
from itin.commands import extract, reproduce, sweep, train
from itin.commands.cluster import SubmitOptions
from itin.commands.reproduce import FIXED, VARIED, ReproduceOptions
from itin.commands.sweep import SweepOptions
from itin.commands.terminal.options import given as given_options
from itin.commands.terminal.run_options import Computing, FeatureOptions, OutputOptions, ProtocolOptions
from itin.commands.train import SeedOptions
from itin.extract.config import EncoderConfig, ExtractConfig
from itin.fields import helps, kind_of, limits_of
from itin.train.config import TrainConfig
from itin.train.presets import PresetOptions
from itin.train.sweeps.axes import parse_values

COMMANDS = {"extract": extract.command, "train": train.command, "sweep": sweep.command, "reproduce": reproduce.command}
CONFIGS = [
    *(TrainConfig, PresetOptions, SeedOptions, SweepOptions, ReproduceOptions, ProtocolOptions, FeatureOptions),
    *(Computing, OutputOptions, ExtractConfig, EncoderConfig, SubmitOptions, Site),
]
FIELDS = {field.name: field for field in fields(TrainConfig)}


def flags(command: click.Command) -> set[str]:
    return {param.opts[0] for param in command.params}


def help_of(name: str, width: int) -> str:
    return CliRunner().invoke(main, [name, "--help"], terminal_width=width).output


# Names ---------------------------------------------------------------------------------------------------------------


def test_every_field_has_an_option() -> None:
    names = {name: {param.name for param in command.params} for name, command in COMMANDS.items()}
    assert names["train"] > FIELDS.keys()
    own = {field.name for one in (ExtractConfig, EncoderConfig) for field in fields(one)}
    assert names["extract"] == own - {"encoders"} | {"record"}  # --config, which says all of them
    assert FIELDS.keys() - names["reproduce"] == {"head", "ablation", "seed", "fold", *FIXED}
    assert set(VARIED) == {"head", "ablation", "seed", "fold", "m", "lam"}


def test_a_sweep_takes_every_option_of_train() -> None:
    assert flags(train.command) - flags(sweep.command) == {"--seed"}


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_is_explained(config: type) -> None:
    for field in fields(config):
        said = helps(config)[field.name]
        assert said.endswith((".", ")")), said
        assert "None" not in said, f"{config.__name__}.{field.name} speaks of None to those who type"


def docstrings(config: type) -> dict[str, str]:
    """The docstrings under the fields of a class alone, as Python's parser reads them."""
    tree = ast.parse(inspect.getsource(sys.modules[config.__module__]))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == config.__name__)
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in pairwise(found.body)
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr)
    }


@pytest.mark.parametrize("config", CONFIGS)
def test_the_help_is_what_the_source_says(config: type) -> None:
    expected: dict[str, str] = {}
    for base in filter(is_dataclass, reversed(config.__mro__)):
        expected |= docstrings(base)
    assert helps(config) == expected


# Values --------------------------------------------------------------------------------------------------------------


def values_of(name: str) -> st.SearchStrategy[Any]:
    """Values that a field of `TrainConfig` takes whatever the others are."""
    limits, kind = limits_of(FIELDS[name]), kind_of(FIELDS[name])
    if kind == "bool":
        return st.booleans()
    if name == "head":
        return st.sampled_from(("itin", "global-local"))
    if name in ("target", "target_weights"):
        return st.sampled_from(("label", "text-label") if name == "target" else ("0.5", "2"))
    if name == "lexicons":
        return st.sampled_from(("vader", "shape", "afinn+pattern"))
    if limits.choices:
        return st.sampled_from(sorted(limits.choices) if name != "ablation" else ("none",))
    if kind == "int":
        return st.integers(max(1, int(limits.least or 0)), int(limits.most or 10**6))
    return st.floats(1e-9, 0.999)


TYPED = {name: values_of(name) for name in FIELDS if name not in ("warmup", "label_from")}  # which hang on others


def parsed(command: click.Command, words: list[str]) -> dict[str, Any]:
    """What a command line gives of the fields of `TrainConfig`."""
    with command.make_context("itin", words) as context:
        return given_options(dict(context.params), TrainConfig)


@settings(max_examples=50)
@given(st.fixed_dictionaries({}, optional=TYPED))
def test_what_is_typed_is_what_is_trained(values: dict[str, Any]) -> None:
    words = []
    for name, value in values.items():
        word = name.replace("_", "-")
        words += [f"--{word}" if value else f"--no-{word}"] if isinstance(value, bool) else [f"--{word}", str(value)]
    found = parsed(train.command, words)
    assert found == values
    assert TrainConfig(**found) == TrainConfig(**values)


@settings(max_examples=50)
@given(
    st.fixed_dictionaries(
        {},
        optional={name: st.lists(one, min_size=1, max_size=3, unique=True) for name, one in TYPED.items()},
    )
)
def test_a_sweep_takes_lists_of_the_same(values: dict[str, list[Any]]) -> None:
    values.pop("seed", None)
    words = []
    for name, several in values.items():
        words += [f"--{name.replace('_', '-')}", ",".join(str(one).lower() for one in several)]
    found = {name: parse_values(name, text) for name, text in parsed(sweep.command, words).items()}
    assert found == {name: tuple(several) for name, several in values.items()}


@settings(max_examples=50)
@given(st.integers(0, 40), st.integers(1, 9), st.integers(0, 40))
def test_ranges_hold_both_ends(begin: int, step: int, count: int) -> None:
    numbers = range(begin, begin + count * step + 1, step)
    assert parse_values("m", f"{begin}:{numbers[-1]}:{step}") == tuple(numbers)
    tenths = tuple(float(f"{number / 40:.3f}") for number in range(begin, 41))
    assert parse_values("lam", f"{begin / 40}:1:0.025") == tenths


def test_given_options_keep_the_order_of_the_command_line() -> None:
    assert list(parsed(sweep.command, ["--lr", "1e-3", "--d", "8", "--epochs", "2"])) == ["lr", "d", "epochs"]


# Help ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "headings"),
    [
        (
            "train",
            ["What is trained", "What is learnt", "The recipe", "Data and split", "Computing", "Output", "Other"],
        ),
        (
            "sweep",
            [
                *("The search", "What is trained", "What is learnt", "The recipe", "Data and split", "Computing"),
                *("Output", "In parts", "Other"),
            ],
        ),
        (
            "reproduce",
            [
                *("What is reproduced", "What is trained", "The recipe", "Data and split", "Computing", "Output"),
                "Other",
            ],
        ),
        ("extract", ["Data set", "Encoders", "Computing", "Output", "In parts", "Other"]),
    ],
)
def test_headings(name: str, headings: list[str]) -> None:
    assert re.findall(r"^(\w[\w ]+):$", help_of(name, 80), re.M) == headings


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_shown_whole(name: str, width: int) -> None:
    said = help_of(name, width)
    assert max(len(line) for line in said.splitlines()) <= width
    assert said.count("[default") == len(re.findall(r"\[default: [^]\n]+\]$", said, re.M))  # none is broken
    for param in COMMANDS[name].params:
        if isinstance(param, click.Option) and not param.hidden:
            flag = param.opts[0] if not param.secondary_opts else f"--[no-]{param.opts[0][2:]}"
            assert len(re.findall(rf"^  {re.escape(flag)}(?: |$)", said, re.M)) == 1, flag
            assert param.help is not None
            assert re.sub(r"\s+", "", param.help) in re.sub(r"\s+", "", said)


def test_common_options_come_first() -> None:
    shown = re.findall(r"^  --(?:\[no-\])?([\w-]+)", help_of("train", 80), re.M)
    assert shown[:5] == ["head", "preset", "m", "lam", "ablation"]
    recipe = shown[shown.index("epochs") :]
    assert recipe[:5] == ["epochs", "batch-size", "lr", "seed", "seeds"]
    assert recipe[recipe.index("dataset") :][:3] == ["dataset", "protocol", "split"]


def test_help_says_type_default_and_range() -> None:
    said = " ".join(help_of("train", 100).split())
    assert "--lam X λ of eq. 18" in said
    assert "[default: 0.2; from 0 to 1]" in said
    assert "--[no-]mask Let padding" in said
    assert "[default: mask]" in said
    swept = " ".join(help_of("sweep", 100).split())
    assert "--mask true,false Let padding" in swept
    assert "--gate [scalar|vector],... " in swept
    assert "[default: true]" in swept


# What has gone -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sweep --set d=256,512", "--set d=256,512 is now --d 256,512"),
        ("sweep --set lr_step=5 --set mask=false", "is now --lr-step 5 --mask false"),
        ("sweep --set d", "--set d is now --d VALUES"),
        ("reproduce --set batch-size=16", "--set batch-size=16 is now --batch-size 16"),
        ("reproduce --set mask=false --set normalize=true", "is now --no-mask --normalize"),
        ("cluster submit -- sweep --set d=256", "--set d=256 is now --d 256"),
    ],
)
def test_set_names_the_new_form(words: str, message: str) -> None:
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code == 2
    assert message in result.output
    assert "--set" not in help_of("sweep", 80) + help_of("reproduce", 80)
