"""How text files are read: MVSA's own as GB18030, copies that were saved again as UTF-8, and what cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from itin.cache import read_table
from itin.cache.format.sealed_json import read_json
from itin.cli import main
from itin.cluster.extract_work import Extraction
from itin.extract.config import ExtractConfig
from itin.extract.data.datasets import open_dataset
from itin.extract.data.scan import scan
from itin.extract.data.survey import last_survey, open_config
from itin.extract.data.text_encoding import ENCODINGS, decide_encoding, decode
from itin.extract.run import extract
from itin.parts import Part

from ..commands.test_cli import encoders, itin
from .test_run import Fake, config, fakes, made  # noqa: F401

Draw = Callable[..., Path]
Fakes = dict[str, Fake]

EITHER = [b"RT @ham_points18: \xc2\xaf500 | HAM #pixiv \n", b"@doting_0120 (\xd0\xa6) http://t.co/8k0E4R7B97\n"]
"""3323 and 4499 of MVSA-Single: GB18030, and by chance UTF-8 too."""


def save_again(root: Path, *ids: str) -> None:
    """Save text files as UTF-8, as an editor does; all of them where none is named."""
    for path in sorted((root / "data").glob("*.txt")):
        if not ids or path.stem in ids:
            path.write_bytes(path.read_bytes().decode("gb18030").encode())


@pytest.mark.parametrize("text", ["café", "naïve …", "“quoted”", "ha 😀", "привет", "für dich", "日本", "\ufeffplain"])
def test_one_text_can_tell(text: str) -> None:
    said = [text.encode(), b"plain", b""]
    assert decide_encoding(said, "gb18030", None).name == "utf-8"
    own = text.removeprefix("\ufeff") + "…"
    assert decide_encoding([own.encode("gb18030"), b"plain"], "gb18030", None).name == "gb18030"
    assert decode(text.encode(), "utf-8") == text.removeprefix("\ufeff")


def test_what_cannot_be_told_is_told() -> None:
    for texts in (EITHER, EITHER[:1], EITHER[1:]):
        count = len(texts)
        found = decide_encoding(texts, "gb18030", None)
        assert found.name == "gb18030"
        assert f"{count} of the {count} beyond ASCII may be UTF-8 as well; --encoding utf-8" in str(found.note)
    sure = decide_encoding([*EITHER, "…".encode("gb18030")], "gb18030", None)
    assert (sure.name, sure.note) == ("gb18030", None)
    nothing = decide_encoding([b"plain", b"ascii"], "gb18030", None)
    assert (nothing.name, nothing.note) == (None, None)


def test_most_decide_and_the_others_are_told() -> None:
    utf_8, own = ["café".encode()] * 9, ["日本…".encode("gb18030")] * 4
    found = decide_encoding([*utf_8, *own], "gb18030", None)
    assert (found.name, found.note) == (
        "utf-8",
        "texts are read as UTF-8, but 4 of the 13 beyond ASCII are not; --encoding gb18030 reads all as GB18030",
    )
    found = decide_encoding([*utf_8[:3], *own], "gb18030", None)
    assert (found.name, found.note) == (
        "gb18030",
        "texts are read as GB18030, but 3 of the 7 beyond ASCII look like UTF-8; --encoding utf-8 reads all as UTF-8",
    )
    assert decide_encoding(utf_8, "gb18030", "gb18030").note == (
        "texts are read as GB18030, but 9 of the 9 beyond ASCII look like UTF-8; --encoding utf-8 reads all as UTF-8"
    )
    assert decide_encoding(own, "gb18030", "utf-8").name == "utf-8"


@pytest.mark.parametrize("name", ["mvsa-single-sample", "mvsa-single-train"])
def test_mvsas_own_texts(shared_data: Path, name: str) -> None:
    texts = [path.read_bytes() for path in (shared_data / name / "data").glob("*.txt")]
    found = decide_encoding(texts, "gb18030", None)
    assert (found.name, found.note) == ("gb18030", None)
    again = [decode(text, "gb18030").encode() for text in texts]
    assert decide_encoding(again, "gb18030", None).name == "utf-8"
    assert [decode(text, "utf-8") for text in again] == [decode(text, "gb18030") for text in texts]


def test_a_copy_is_read_as_the_original(tmp_path: Path, draw_mvsa: Draw) -> None:
    own, copy = draw_mvsa(tmp_path / "own", 6), draw_mvsa(tmp_path / "copy", 6)
    for root in (own, copy):
        (root / "data" / "1.txt").write_bytes("café 炉500".encode("gb18030"))
        (root / "data" / "2.txt").write_bytes(EITHER[0])
    save_again(copy)
    texts = {root: [sample.text for sample in scan(open_dataset("mvsa-single", root)).samples] for root in (own, copy)}
    assert texts[own] == texts[copy]
    assert texts[own][:2] == ["café 炉500", "RT @ham_points18: 炉500 | HAM #pixiv"]
    (copy / "data" / "3.txt").write_bytes("…".encode("gb18030"))
    seen = scan(open_dataset("mvsa-single", copy))
    assert [(row.id, row.reason) for row in seen.rejected] == [
        ("3", f"text is not UTF-8: byte 0 of '{copy}/data/3.txt'")
    ]


def test_only_known_encodings_of_mvsa(tmp_path: Path, draw_mvsa: Draw) -> None:
    root = draw_mvsa(tmp_path / "own", 1)
    (root / "t.csv").write_text("id,image,text\n1,data/1.jpg,hello\n")
    options: dict[str, Any]
    for options in ({"kind": "mvsa-single", "encoding": "cp1252"}, {"kind": "folder", "encoding": "utf-8"}):
        with pytest.raises(ValueError, match=r"encoding: expected one of gb18030, utf-8, for MVSA alone, got"):
            open_dataset(root=root, **options)
    for encoding in ENCODINGS:
        dataset = open_dataset("mvsa-single", root, encoding=encoding)
        assert dataset.encoding == encoding
        assert open_dataset(**dataset.source) == dataset  # type: ignore[arg-type]


def test_the_decision_is_kept_for_the_same_folder(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    assert config.root is not None
    data = config.root / "data"
    for path in data.glob("*.txt"):
        path.write_bytes(b"plain text of " + path.stem.encode())
    (data / "3.txt").write_bytes(EITHER[0])
    first = extract(config)
    assert read_json(first.folder / "dataset.json")["source"]["encoding"] == "gb18030"
    for number in (1, 2, 4):  # the folder grows; alone, these would decide otherwise
        (data / f"{number}.txt").write_bytes(f"café number {number}".encode())
    second = extract(config)
    assert made(second)["tokens"] == 3
    texts = read_table(second.folder).samples.set_index("id")["text"]
    assert texts["3"] == "RT @ham_points18: 炉500 | HAM #pixiv"
    assert "but 3 of the 4 beyond ASCII look like UTF-8; --encoding utf-8" in str(second.scan.encoding.note)
    third = extract(replace(config, encoding="utf-8"))
    assert read_table(third.folder).samples.set_index("id")["text"]["1"] == "café number 1"
    assert made(third)["tokens"] == 4
    assert made(extract(config))["tokens"] == 0  # what was given is kept, too
    assert read_json(first.folder / "dataset.json")["source"]["encoding"] == "utf-8"
    assert "texts are read as UTF-8" in read_json(first.folder / "dataset.json")["texts"]


def test_another_folder_is_decided_anew(config: ExtractConfig, fakes: Fakes, tmp_path: Path, draw_mvsa: Draw) -> None:  # noqa: F811
    assert config.root is not None
    save_again(config.root)
    assert read_json(extract(config).folder / "dataset.json")["source"]["encoding"] == "utf-8"
    own = extract(replace(config, root=draw_mvsa(tmp_path / "own", 5)))
    assert (own.rejected, own.scan.encoding.note) == ([], None)
    assert read_json(own.folder / "dataset.json")["source"]["encoding"] == "gb18030"


def test_nothing_is_decided_while_all_is_ascii(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    assert config.root is not None
    for path in (config.root / "data").glob("*.txt"):
        path.write_bytes(b"plain text of " + path.stem.encode())
    folder = extract(config).folder
    assert read_json(folder / "dataset.json")["source"]["encoding"] is None
    (config.root / "data" / "1.txt").write_bytes("café".encode())
    extract(config)
    assert read_table(folder).samples["text"][0] == "café"


def test_parts_take_the_decision_of_the_plan(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    assert config.root is not None
    save_again(config.root)
    planned = extract(replace(config, plan=True))
    dataset, folder = open_config(config)
    assert dataset.encoding is None
    for path in (config.root / "data").glob("*.txt"):
        path.unlink()  # no part reads texts again
    seen = last_survey(dataset, folder)
    assert seen is not None
    assert seen.dataset.encoding == "utf-8"
    assert seen.scan.samples == planned.scan.samples
    assert seen.scan.encoding == planned.scan.encoding
    assert last_survey(open_config(replace(config, encoding="gb18030"))[0], folder) is None
    assert made(extract(replace(config, part=Part(0, 1))))["tokens"] == 11


def test_a_table_of_before_is_scanned_again(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    assert config.root is not None
    summary = extract(config)
    dataset, folder = open_config(config)
    assert last_survey(dataset, folder) is not None
    samples = folder / "samples.jsonl"
    samples.write_text(samples.read_text().replace(', "orientation": 1', ""))
    assert last_survey(dataset, folder) is None
    again = extract(config)
    assert again.scan.samples == summary.scan.samples
    assert made(again) == {"regions": 0, "tokens": 0, "context": 0}


def test_the_commands_tell_it(tmp_path: Path, draw_mvsa: Draw) -> None:
    root = draw_mvsa(tmp_path / "m", 12)
    save_again(root)
    base = ["--dataset", "mvsa-single", "--root", root]
    small = [*encoders(tmp_path / "bert"), "--only", "tokens", "--cache", tmp_path / "cache"]
    told = "  texts are read as UTF-8; --encoding gb18030 reads all as GB18030\n"
    assert told in itin("extract", *base, *small)
    assert told in itin("extract", *base, *small)
    assert told in itin("data", "check", *base)
    assert told in itin("data", "check", "--cache", tmp_path / "cache")
    against = "texts are read as GB18030, but 12 of the 12 beyond ASCII look like UTF-8; --encoding utf-8"
    refused = itin("data", "check", *base, "--encoding", "gb18030", code=1)
    assert f"no pair of {root} can be used" in refused
    assert against in refused
    for path in (root / "data").glob("*.txt"):
        path.write_bytes("a café".encode())
    assert against in itin("data", "check", *base, "--encoding", "gb18030")
    assert "--encoding goes with --root" in itin("data", "check", "--encoding", "utf-8", code=2)
    assert "texts are read" not in itin("data", "check", "--root", draw_mvsa(tmp_path / "own", 12))
    result = CliRunner().invoke(main, ["extract", "--dataset", "folder", "--root", str(root), "--encoding", "utf-8"])
    assert result.exit_code == 2
    assert "--encoding: expected one of gb18030, utf-8, for MVSA alone" in result.output


def test_a_submission_tells_it_and_hands_on_what_was_given(
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert config.root is not None
    save_again(config.root)
    given = ExtractConfig("mvsa-single", root=config.root, cache=tmp_path / "cache")
    prepared = Extraction().prepare(given, ())
    assert prepared.note == "texts are read as UTF-8; --encoding gb18030 reads all as GB18030"
    assert prepared.config["encoding"] is None
    assert Extraction().prepare(replace(given, encoding="utf-8"), ()).config["encoding"] == "utf-8"
