"""Encoders of a user's own: how a name is resolved, what is imported, and what each mistake is called."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itin.cache.format.schema import fingerprint_of, store_name
from itin.errors import EncoderError, WeightsError
from itin.extract.config import EncoderConfig
from itin.extract.encoders.build import build_encoder, check_same, identity_of, required_weights
from itin.extract.encoders.own import has_form
from itin.extract.encoders.tokens import needs_built_tokenizer

from ..own_encoders import CONTEXT, current_folder, example, forget

CPU = torch.device("cpu")
FIELDS = {"regions": "regions", "tokens": "text_encoder", "context": "context_encoder"}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    with current_folder(tmp_path) as folder:
        yield folder


def build(name: str, kind: str = "context", allow: tuple[str, ...] | None = None, **options: Any) -> Any:
    options[FIELDS[kind]] = name
    config = EncoderConfig(**options)
    return build_encoder(kind, config, CPU, batch_size=2, allow=(name,) if allow is None else allow)


def fails(name: str, kind: str = "context", **options: Any) -> str:
    with pytest.raises(EncoderError) as caught:
        build(name, kind, **options)
    return str(caught.value)


def write(folder: Path, source: str, name: str = "mine") -> None:
    (folder / f"{name}.py").write_text(source)


def picture(width: int = 7, height: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a:B", "my_module:MyEncoder", "pack.age.mod:_C1", "größe:Maß"])
def test_a_module_and_a_class(name: str) -> None:
    assert has_form(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "grid",
            "org/model",
            "timm/resnet18",
            "hf-hub:org/model",
            "C:\\models\\bert",
            "C:/models/bert",
            "a:B.C",
            "a:b:C",
        ),
        *(":B", "a:", "a..b:C", ".a:B", "a.:B", "1a:B", "a:1B", "a: B", "a:B\n", "a-b:C", "../a:B", "/a:B", ""),
    ],
)
def test_what_is_no_module_and_class(name: str) -> None:
    assert not has_form(name)


def test_arrays_are_those_of_the_class_and_its_code_is_in_the_identity(here: Path) -> None:
    write(here, CONTEXT)
    encoder = build("mine:Mean")
    images = [picture(seed=1), picture(9, 4, seed=2)]
    for arrays, image in zip(encoder.encode([encoder.prepare(one) for one in images]), images, strict=True):
        np.testing.assert_allclose(arrays["context"], image.astype(float).sum((0, 1)) / image[..., 0].size)
    assert encoder.batch_size == 2
    assert encoder.spec.name == "mine:Mean"
    digest = hashlib.sha256(CONTEXT.encode()).hexdigest()
    assert encoder.spec.preprocessing == {"space": "RGB", "code": {"class": "mine:Mean", "sha256": digest}}
    identity = identity_of(encoder.spec, "float16")
    assert store_name(identity) == f"context-mine_Mean-{fingerprint_of(identity)[:12]}"


def test_one_byte_of_the_file_makes_another_store_and_is_named(here: Path) -> None:
    identities = []
    for source in (CONTEXT, CONTEXT, CONTEXT.replace("mean colour.", "mean colour!")):
        write(here, source)
        forget(here)
        identities.append(identity_of(build("mine:Mean").spec, "float16"))
    one, same, other = map(fingerprint_of, identities)
    assert one == same != other
    with pytest.raises(WeightsError, match="its code differs") as caught:
        check_same("context", identities[2], identities[0])
    assert identities[0]["preprocessing"]["code"]["sha256"] in str(caught.value)


def test_a_file_changed_after_its_import_keeps_the_digest_of_what_runs(here: Path) -> None:
    write(here, CONTEXT)
    before = build("mine:Mean").spec
    write(here, CONTEXT + "\n")
    assert build("mine:Mean").spec == before


def test_only_names_that_were_given_are_imported(here: Path) -> None:
    write(here, "from pathlib import Path\nPath('imported').touch()\n" + CONTEXT)
    for allow in ((), ("mine:Other",), ("mine",), ("other:Mean", "grid")):
        text = fails("mine:Mean", allow=allow)
        assert "--context-encoder mine:Mean" in text
        assert "comes from a file" in text
    assert not (here / "imported").exists()
    assert "mine" not in sys.modules
    assert str(here) not in sys.path
    build("mine:Mean")
    assert (here / "imported").exists()


def test_the_current_folder_comes_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "elsewhere").mkdir()
    write(here / "elsewhere", "raise RuntimeError('the other one')")
    monkeypatch.syspath_prepend(str(here / "elsewhere"))
    write(here, CONTEXT)
    assert build("mine:Mean").spec.name == "mine:Mean"


def test_a_package_in_the_current_folder(here: Path) -> None:
    (here / "lab").mkdir()
    write(here / "lab", CONTEXT, "colours")
    write(here / "lab", "", "__init__")
    assert build("lab.colours:Mean").spec.preprocessing["code"]["class"] == "lab.colours:Mean"


def test_no_vocabulary_is_built_for_ones_own(here: Path) -> None:
    assert needs_built_tokenizer(EncoderConfig(text_encoder="bert-base-uncased", random_init=0))
    assert not needs_built_tokenizer(EncoderConfig(text_encoder="mine:Words", random_init=0))


def test_weights_lists_what_a_class_says_that_it_needs(here: Path) -> None:
    config = EncoderConfig(context_encoder="mine:Mean")
    write(here, CONTEXT)
    without = required_weights(config, {"mine:Mean"})
    assert "mine:Mean" not in {row.encoder for row in without}
    source = "    @staticmethod\n    def needs(config):\n        return Row(encoder='mean', needs='a palette')\n"
    write(here, f"from types import SimpleNamespace as Row\n{CONTEXT}{source}")
    forget(here)
    with pytest.raises(EncoderError, match="comes from a file"):
        required_weights(config)
    (row,) = [row for row in required_weights(config, {"mine:Mean"}) if row not in without]
    assert (row.encoder, row.needs) == ("mean", "a palette")


# Entry points --------------------------------------------------------------------------------------------------------


def install(site: Path, package: str, module: str, name: str = "tone", version: str = "1.2") -> None:
    folder = site / f"{package}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (folder / "entry_points.txt").write_text(f"[itin.encoders]\n{name} = {module}:Mean\n")
    write(site, CONTEXT, module)


def test_an_installed_entry_point_needs_no_permission(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(here / "site", "colours", "colours_of")
    monkeypatch.syspath_prepend(str(here / "site"))
    forget(here)
    spec = build("tone", allow=()).spec
    assert spec.name == "tone"
    digest = hashlib.sha256(CONTEXT.encode()).hexdigest()
    code = {"class": "colours_of:Mean", "package": "colours 1.2", "sha256": digest}
    assert spec.preprocessing["code"] == code
    assert not needs_built_tokenizer(EncoderConfig(text_encoder="tone", random_init=0))
    assert "'context'" in fails("tone", "tokens")


def test_two_packages_with_one_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("colours", "tones"):
        install(here / package, package, f"{package}_of")
        monkeypatch.syspath_prepend(str(here / package))
    forget(here)
    text = fails("tone")
    assert "colours 1.2 and tones 1.2" in text
    assert not {"colours_of", "tones_of"} & sys.modules.keys()


def test_itins_own_names_come_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(here / "site", "colours", "colours_of", name="resnet18")
    monkeypatch.syspath_prepend(str(here / "site"))
    forget(here)
    assert build("resnet18", random_init=0).spec.dims == {"feature": 512}
    assert "colours_of" not in sys.modules


def test_metadata_in_the_current_folder_is_not_installed(here: Path) -> None:
    """The folder becomes importable for the encoder that was named, and for nothing else."""
    write(here, CONTEXT)
    install(here, "evil", "evil_of", name="tone")
    build("mine:Mean")
    with pytest.raises((ValueError, WeightsError)):
        build("tone", allow=())
    assert "evil_of" not in sys.modules


# Mistakes ------------------------------------------------------------------------------------------------------------


def test_a_module_that_is_not_there_names_the_folder(here: Path) -> None:
    text = fails("nosuch:Thing")
    assert "no module nosuch" in text
    assert f"nosuch.py in {here}" in text
    write(here, "import nosuch_either\n")
    text = fails("mine:Thing")
    assert "fails when it is imported" in text
    assert "No module named 'nosuch_either' (mine.py, line 1)" in text


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = 1\n\nraise KeyError('colour')\n", "KeyError: 'colour' (mine.py, line 3)"),
        ("def broken(:\n", "SyntaxError: "),
        ("raise SystemExit(0)", "SystemExit: 0 (mine.py, line 1)"),
        ("raise ValueError", "ValueError (mine.py, line 1)"),
    ],
)
def test_a_module_that_fails(here: Path, source: str, found: str) -> None:
    write(here, source)
    text = fails("mine:Mean")
    assert found in text
    assert "python -c 'import mine'" in text


def test_a_class_that_is_not_there_names_those_that_are(here: Path) -> None:
    write(here, CONTEXT + "class Other: pass\n")
    assert "has no class Maen\n  found:    Mean, Other" in fails("mine:Maen")
    assert "not a class that a file defines" in fails("mine:np")
    assert "not a class that a file defines" in fails("builtins:dict")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("(self, config, device, *, batch_size=None)", "(self, config)", "(config, device, *, batch_size)"),
        ("batch_size=None)", "batch_size=None, other)", "found:    (config, device, *, batch_size=None, other)"),
        ("batch_size or 4", "len(None)", "TypeError: object of type 'NoneType' has no len() (mine.py, line 8)"),
        ("batch_size or 4", "0", "batch_size\n  expected: a whole number from 1\n  found:    0"),
        ('EncoderSpec("context"', 'dict; EncoderSpec("context"', "an EncoderSpec"),
        ('"context", "mean"', '"regions", "mean"', "'context', for --context-encoder\n  found:    'regions'"),
        ('{"feature": 3}', "{}", "'feature': a whole number from 1\n  found:    None"),
        ('{"feature": 3}', "None", "dicts"),
        ('{"space": "RGB"}', '{"space": np.ones(2)}', "values that JSON has"),
        ('{"space": "RGB"}', '{"space": float("nan")}', "values that JSON has"),
        ('{"space": "RGB"}', '{"code": 1}', "'code'"),
        ("def encode", "def encoded", "in encode\n  expected: a method"),
    ],
)
def test_a_class_that_breaks_the_contract(here: Path, old: str, new: str, words: str) -> None:
    assert old in CONTEXT
    write(here, CONTEXT.replace(old, new))
    text = fails("mine:Mean")
    assert "mine:Mean" in text
    assert words in text


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("[{'context': np.zeros(3)}]", "a list of 2 dicts, one an input\n  found:    1 results"),
        ("np.zeros((2, 3))", "a list of 2 dicts, one an input\n  found:    ndarray"),
        ("[None, None]", "NoneType"),
        ("[{}, {}]", "arrays context\n  found:    none"),
        ("[{'vector': np.zeros(3)}] * 2", "arrays context\n  found:    vector"),
        ("[{'context': np.zeros(4)}] * 2", "shape (3,)\n  found:    float64 (4,)"),
        ("[{'context': np.zeros((1, 3))}] * 2", "shape (3,)\n  found:    float64 (1, 3)"),
        ("[{'context': np.zeros(3, complex)}] * 2", "complex128"),
        ("[{'context': [0, 0, 0]}] * 2", "<class 'list'>"),
        ("[{'context': np.full(3, np.nan)}] * 2", "none in a whole batch: context holds values that are not finite"),
        ("[{'context': np.full(3, 1e6)}] * 2", "use --store-dtype float32"),
    ],
)
def test_what_it_returns_is_checked(here: Path, returned: str, words: str) -> None:
    write(here, CONTEXT.replace('[{"context": image.reshape(-1, 3).mean(0)} for image in prepared]', returned))
    encoder = build("mine:Mean")
    with pytest.raises(EncoderError) as caught:
        encoder.encode([encoder.prepare(picture()) for _ in range(2)])
    assert words in str(caught.value)
    assert not isinstance(caught.value, RuntimeError), "a mistake would be taken for the fault of one input"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("arrays['scores'] = arrays['scores'][::-1]", "by descending score"),
        ("arrays['scores'] = np.array([1, 3, 2, 1], np.uint8)", "by descending score\n  found:    scores [1, 3, 2, 1]"),
        ("arrays['boxes'][:, 2] += 1", "here 7 x 5"),
        ("arrays['boxes'][:, [0, 2]] = arrays['boxes'][:, [2, 0]]", "here 7 x 5"),
        ("arrays['boxes'] = arrays['boxes'][:, :3]", "boxes: a NumPy array of numbers, shape (4, 4)"),
        ("arrays['boxes'] = arrays['boxes'][:3]", "shape (4, 4)\n  found:    float32 (3, 4)"),
        ("del arrays['scores']", "found:    regions, boxes"),
        ("arrays['object'] = arrays['scores']", "attribute_scores\n"),
        ("arrays['objects'] = arrays['scores']", "objects: a NumPy array of whole numbers, shape (4,)"),
        ("arrays['objects'] = np.full(4, 2**40)", "objects: numbers that int32 holds"),
        ("arrays = {k: np.concatenate([v, v * 0]) for k, v in arrays.items()}", "at most 4 regions"),
    ],
)
def test_regions_are_checked(here: Path, change: str, words: str) -> None:
    own = f"""
class Wrong(ColourGrid):
    def encode(self, prepared):
        (arrays,) = prepared
        {change}
        return [arrays]
"""
    write(here, example() + own)
    encoder = build("mine:Wrong", "regions", max_regions=4)
    with pytest.raises(EncoderError) as caught:
        encoder.encode([encoder.prepare(picture())])
    assert words in str(caught.value)


def test_lists_are_no_arrays(here: Path) -> None:
    write(here, example().replace("np.array(vectors, np.float32)[order]", "vectors"))
    encoder = build("mine:ColourGrid", "regions")
    with pytest.raises(EncoderError, match=r"regions: a NumPy array of numbers, shape \(n, 24\)"):
        encoder.encode([encoder.prepare(picture())])


def test_texts_come_in_batches(here: Path) -> None:
    counted = """
class Counted(HashedLetters):
    seen = []
    def encode(self, texts):
        self.seen.append(len(texts))
        return super().encode(texts)
"""
    write(here, example() + counted)
    encoder = build("mine:Counted", "tokens")
    arrays = encoder.encode([" ".join(["word"] * n) for n in range(1, 6)])
    assert [len(one["tokens"]) for one in arrays] == [1, 2, 3, 4, 5]
    assert sys.modules["mine"].Counted.seen == [2, 2, 1]


def test_objects_may_be_left_out(here: Path) -> None:
    write(here, example())
    encoder = build("mine:ColourGrid", "regions", max_regions=4)
    (arrays,) = encoder.encode([encoder.prepare(picture())])
    assert arrays["objects"].tolist() == arrays["attributes"].tolist() == [-1] * 4
    assert arrays["object_scores"].tolist() == arrays["attribute_scores"].tolist() == [0] * 4


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("np.arange(len(words)", "np.arange(1, len(words) + 1", "word_ids below 3, the length of words(text)"),
        (
            '"word_ids": np.arange(len(words), dtype=np.int32)',
            '"word_ids": ids * 1.0',
            "array of whole numbers",
        ),
        pytest.param(
            *("_hash(word) % 2**31", "_hash(word) % 2**31 + 2**33", "OverflowError"),
            marks=pytest.mark.skipif(np.__version__ < "2", reason="NumPy 1 wraps numbers that do not fit, and warns"),
        ),
        ('"word_ids": np.arange(len(words), dtype=np.int32)', '"word_ids": ids * 0 - 1', "the text gives no WordPiece"),
    ],
)
def test_tokens_are_checked(here: Path, old: str, new: str, words: str) -> None:
    assert old in example()
    write(here, example().replace(old, new))
    encoder = build("mine:HashedLetters", "tokens")
    with pytest.raises(EncoderError) as caught:
        encoder.encode(["one two three", "Two three four"])
    assert words in str(caught.value)


def test_texts_without_words_are_no_fault_of_the_encoder(here: Path) -> None:
    write(here, example())
    encoder = build("mine:HashedLetters", "tokens")
    assert [len(arrays["tokens"]) for arrays in encoder.encode(["", "  "])] == [0, 0]


def test_an_exception_names_the_line_and_may_be_one_inputs_fault(here: Path) -> None:
    source = CONTEXT.replace("        return image\n", "        return image[3, 0] * 0 + image\n")
    write(here, source)
    encoder = build("mine:Mean")
    good, bad = encoder.prepare(picture()), encoder.prepare(picture(height=2))  # no fourth row
    with pytest.raises(RuntimeError, match=r"mine:Mean failed: IndexError: .*\(mine.py, line 11\)") as caught:
        encoder.encode([good, bad])
    assert isinstance(caught.value, EncoderError)
    (arrays,) = encoder.encode([good])
    assert np.isfinite(arrays["context"]).all()
    with pytest.raises(RuntimeError):
        encoder.encode([bad])
