"""Fig. 7 for any pair: what is drawn, against the prediction that it shows."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from PIL import Image
from rich.console import Console

from itin.cli import main
from itin.commands.predict import MIN_SHADE, shaded, show
from itin.demo.run import UNTRAINED, prepare
from itin.errors import RunError
from itin.extract.data import reading
from itin.extract.data.images import image_input, read_image
from itin.extract.data.reading import BadFile
from itin.labels import LABELS
from itin.predict import Predictor
from itin.predict.pairs import Pair, pairs_of
from itin.predict.prediction import Prediction, Region, weights_by_word
from itin.report.explain import ATTENDED, Explanation, explain
from itin.report.page.colors import REGIONS, SHADE, over, region_color, strength
from itin.report.page.plot import COLORS
from itin.report.thumbnails import Images, thumbnail
from itin.train.runs.folder import UNTRAINED_NOTE, load_run

from ..features import make_data
from ..web_server import Server
from .test_page import EVIL

TEXT = "so lovely, this cat"
REGION = Region((4, 6, 24, 36), 0.9, 3, 7, "cat", "red", gate=0.9846, attention=0.75, words={0: 0.0, 1: 0.81, 2: 0.1, 3: 0.0, 4: 0.09})  # fmt: skip  # noqa: E501
OTHER = replace(REGION, box=(30, 10, 60, 40), object=-1, attribute=-1, gate=0.135, attention=0.25, words={-1: 1.0})
PREDICTION = Prediction("positive", {"positive": 0.7, "neutral": 0.2, "negative": 0.1}, ["so", "lovely", ",", "this", "cat"], [REGION, OTHER])  # fmt: skip  # noqa: E501
IMAGE = np.full((48, 64, 3), 128, np.uint8)
PAIR = Pair("17", TEXT, "neutral", PREDICTION, Path("a.jpg"), (64, 48), "0" * 64)


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the demo's data set, by encoders that can be built again."""
    folder = tmp_path_factory.mktemp("demo")
    prepare(folder, replace(UNTRAINED, pairs=40))
    small = ["--m", "3", "--d", "16", "--k", "16", "--epochs", "2"]
    done = CliRunner().invoke(main, ["train", "--cache", str(folder / "cache"), "--out", str(folder / "run"), *small])
    assert done.exit_code == 0, done.output
    return folder / "run"


@pytest.fixture(scope="module")
def number_run(demo_run: Path) -> Path:
    """A run on two targets of the same data set, a number first."""
    folder = demo_run.parent
    small = ["--m", "3", "--d", "16", "--k", "16", "--epochs", "2", "--target", "intensity+text-label"]
    done = CliRunner().invoke(main, ["train", "--cache", str(folder / "cache"), "--out", str(folder / "both"), *small])
    assert done.exit_code == 0, done.output
    return folder / "both"


def test_words_are_summed_over_their_pieces() -> None:
    assert weights_by_word([0.1, 0.2, 0.3, 0.25, 0.15, 0.0], [-1, 0, 0, 1, -1]) == pytest.approx(
        {-1: 0.25, 0: 0.5, 1: 0.25}
    )


def test_colours_are_those_of_the_page() -> None:
    style = (Path(__file__).parents[2] / "report" / "page" / "templates" / "page.css").read_text()
    assert tuple(re.findall(r"\.r\d \{ --region: (#\w+);", style)) == REGIONS
    light = style.split("@media")[0]
    assert tuple(re.findall(r"--c\d: (#\w+);", light)) == COLORS
    assert f"--shade: {100 * SHADE:.0f}%" in light
    assert region_color(9) == REGIONS[1]
    assert over("#ff0000", "#ffffff", 0.5) == "#ff8080"
    assert (strength(0.25), strength(0), strength(1.2)) == (0.5, 0, 1)


def test_words_are_shaded_by_their_weight_and_boxes_are_outlined() -> None:
    canvas = Explanation(IMAGE, PAIR, UNTRAINED_NOTE).figure()
    (axes,) = canvas.axes
    texts = [text.get_text() for text in axes.texts]
    assert " gate 0.9846   attention 0.750" in " ".join(texts)
    assert "  red cat  gate 0.9846   attention 0.750" in texts
    assert "  gate 0.1350   attention 0.250" in texts
    assert texts[2] == "positive 0.700"
    assert texts[3] == "  (label neutral)"
    assert texts.count("lovely") == texts.count("cat") == 2
    assert "[CLS]/[SEP]" in texts
    assert " ".join(UNTRAINED_NOTE.split()) == " ".join("".join(texts[texts.index("Features ") :]).split())
    patches = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    outlines = [patch for patch in patches if not patch.get_fill() and patch.get_linewidth() < 3]
    assert [to_hex(patch.get_edgecolor()) for patch in outlines] == [REGIONS[1], REGIONS[0]]  # the first on top
    scale = outlines[1].get_width() / 20
    assert outlines[1].get_height() == pytest.approx(30 * scale)
    assert outlines[0].get_x() - outlines[1].get_x() == pytest.approx(26 * scale)
    papers = {to_hex(patch.get_facecolor()) for patch in patches if patch.get_fill()}
    assert papers >= {over(REGIONS[0], "#ffffff", SHADE * strength(weight)) for weight in (0.81, 0.1, 0.09, 0)}
    assert over(REGIONS[1], "#ffffff", SHADE) in papers  # [CLS] and [SEP] of the second


def test_long_texts_go_on_in_the_next_line_and_stay_on_the_figure() -> None:
    text = " ".join(["word"] * 60)
    words = dict.fromkeys(range(60), 1 / 60)
    prediction = replace(PREDICTION, words=["word"] * 60, regions=[replace(REGION, words=words)])
    canvas = Explanation(IMAGE[:9], replace(PAIR, text=text, prediction=prediction)).figure()
    (axes,) = canvas.axes
    width, height = canvas.get_size_inches()
    assert height > Explanation(IMAGE[:9], PAIR).figure().get_size_inches()[1]
    canvas.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert all(box.x0 >= 0 and box.x1 <= width * canvas.dpi for box in boxes)
    assert all(box.y0 >= 0 and box.y1 <= height * canvas.dpi for box in boxes)


def test_heads_without_regions_say_so() -> None:
    canvas = Explanation(IMAGE, replace(PAIR, prediction=replace(PREDICTION, regions=[]))).figure()
    assert "This head aligns no regions with words." in [text.get_text() for text in canvas.axes[0].texts]


def test_heads_that_attend_without_aligning_show_what_they_attend_to(capsys: pytest.CaptureFixture[str]) -> None:
    """The text is shaded once, regions have an attention without gate and words; the page has the words as a line."""
    regions = [replace(one, gate=None, words={}) for one in (REGION, OTHER)]
    prediction = replace(PREDICTION, regions=regions, attended={1: 0.81, 0: 0.04, 4: 0.15})
    explanation = Explanation(IMAGE, replace(PAIR, prediction=prediction))
    (axes,) = explanation.figure().axes
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("lovely") == 1
    assert "  red cat  attention 0.750" in texts
    assert not any("gate" in text or "aligns" in text for text in texts)
    papers = {to_hex(patch.get_facecolor()) for patch in axes.patches if patch.get_fill()}
    assert papers >= {over(ATTENDED, "#ffffff", SHADE * strength(weight)) for weight in (0.81, 0.15, 0.04)}
    assert "Attends to: lovely 0.81  cat 0.15  so 0.04" in explanation.html()
    show(prediction)
    said = capsys.readouterr().out
    assert "attends to  lovely 0.81  cat 0.15  so 0.04" in said
    assert "attention" in said
    assert "gate" not in said
    assert "aligned" not in said


@pytest.mark.parametrize("ending", ["png", "pdf", "svg", "html"])
def test_every_kind_of_file_is_written(ending: str, tmp_path: Path) -> None:
    evil = "$x$ 猫 " + EVIL[1]
    pair = replace(PAIR, text=evil, id=EVIL[2], prediction=replace(PREDICTION, words=evil.split()))
    path = Explanation(IMAGE, pair, UNTRAINED_NOTE).save(tmp_path / "new" / f"out.{ending}")
    assert path.stat().st_size > 5000
    if ending == "html":
        html = path.read_text(encoding="utf-8")
        assert html.count("<script") == 2
        assert UNTRAINED_NOTE in html
        (data,) = re.findall(r'id="data-pairs">(.*?)</script>', html, re.S)
        (shown,) = json.loads(data)["runs"][0]["pairs"]
        assert "".join(piece for piece, _ in shown["text"]) == evil


def test_other_endings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a.gif: expected a name that ends in .png, .pdf, .svg, .html"):
        Explanation(IMAGE, PAIR).save("a.gif")


def test_in_a_notebook_it_is_a_frame_of_its_own() -> None:
    shown = Explanation(IMAGE, replace(PAIR, text='"></iframe><script>')).__getattribute__("_repr_html_")()
    assert shown.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert "<script" not in shown
    frame = Explanation(IMAGE, PAIR).frame()
    assert list(frame["weight"]) == [0.0, 0.81, 0.1, 0.0, 0.09, 1.0]


def test_a_pair_of_a_report_is_explained_from_its_image(tmp_path: Path) -> None:
    made = make_data(tmp_path, 4)
    path = made.images / "1.jpg"
    pair = replace(PAIR, image=path, image_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert Explanation.of(pair, Images()).image.shape == (48, 64, 3)
    with pytest.raises(RunError, match=r"the image of pair 17 cannot be shown: image not found\n(?s:.*)--images"):
        Explanation.of(replace(pair, image=tmp_path / "gone.jpg"), Images())


def test_an_image_in_an_archive_or_a_table_is_shown_as_its_file_is(tmp_path: Path) -> None:
    data = (make_data(tmp_path / "made", 4).images / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(data)
    plain = replace(PAIR, image=tmp_path / "1.jpg", image_sha256=hashlib.sha256(data).hexdigest())
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(tmp_path / "1.jpg", "1.jpg")
    pq.write_table(pa.table({"photo": [b"other", data]}), tmp_path / "t.parquet")
    places = {
        "a.tar": {"member": "1.jpg", "at": 512, "bytes": len(data)},
        "t.parquet": {"row": 1, "column": "photo", "group": 0},
    }
    for name, within in places.items():
        pair = replace(plain, image=tmp_path / name, within=within)
        assert thumbnail(pair, Images()) == thumbnail(plain, Images())
        np.testing.assert_array_equal(Explanation.of(pair, Images()).image, Explanation.of(plain, Images()).image)
        moved = tmp_path / "moved"
        moved.mkdir(exist_ok=True)
        (tmp_path / name).rename(moved / name)
        assert thumbnail(pair, Images()).reason == "image not found"
        assert thumbnail(pair, Images(tmp_path, moved)) == thumbnail(plain, Images())
    within = {"member": "1.jpg", "at": 0, "bytes": 10}
    pair = replace(plain, image=moved / "a.tar", within=within)
    assert "has no place in the archive" in thumbnail(pair, Images()).reason
    pair = replace(plain, image=moved / "a.tar", within={**within, "at": 512})
    assert thumbnail(pair, Images()).reason.startswith(("JPEG header is damaged", "another image than the one"))


def test_boxes_lie_on_the_picture_that_the_encoders_saw(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (64, 48), "red").save(path, exif=exif)
    now = replace(PAIR, image=path, image_sha256=image_input(path.read_bytes()).sha256)
    before = replace(PAIR, image=path, image_sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert Explanation.of(now, Images()).image.shape == (64, 48, 3)
    assert Explanation.of(before, Images()).image.shape == (48, 64, 3)  # features of before orientation was applied
    assert (thumbnail(now, Images()).size, thumbnail(before, Images()).size) == ((48, 64), (64, 48))
    path.write_text("no picture")
    assert thumbnail(now, Images()).reason == "not a JPEG, PNG, WebP, GIF, BMP or TIFF image"


def test_terminals_with_colours_show_the_shades() -> None:
    line = shaded(PREDICTION, REGION, 0)
    assert line.plain == "lovely 0.81  , 0.10  cat 0.09  so 0.00  this 0.00"
    colored = Console(force_terminal=True, color_system="truecolor", width=200)
    with colored.capture() as capture:
        colored.print(line)
    paper = over(REGIONS[0], "#000000", 0.2 + 0.5 * strength(0.81))
    rgb = ";".join(str(int(paper[i : i + 2], 16)) for i in (1, 3, 5))
    assert f"48;2;{rgb}mlovely\x1b[0m 0.81" in capture.get()
    assert strength(0.09) >= MIN_SHADE
    assert "so 0.00" in capture.get()  # too faint for a shade


def test_an_image_behind_a_protocol_is_shown_as_its_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a member of an archive, a cell of a table; a server that is away is waited for once."""
    waits: list[float] = []
    monkeypatch.setattr(reading.time, "sleep", waits.append)
    data = (make_data(tmp_path / "made", 4).images / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(data)
    plain = replace(PAIR, image=tmp_path / "1.jpg", image_sha256=hashlib.sha256(data).hexdigest())
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(tmp_path / "1.jpg", "1.jpg")
    pq.write_table(pa.table({"photo": [b"other", data]}), tmp_path / "t.parquet")
    places: dict[str, dict[str, Any]] = {
        "1.jpg": {},
        "a.tar": {"member": "1.jpg", "at": 512, "bytes": len(data)},
        "t.parquet": {"row": 1, "column": "photo", "group": 0},
    }
    server = Server(tmp_path)
    there = [replace(plain, image=Path(server.url) / name, within=within) for name, within in places.items()]
    for pair in there:
        assert thumbnail(pair, Images(Path(server.url))) == thumbnail(plain, Images())
        np.testing.assert_array_equal(Explanation.of(pair, Images()).image, Explanation.of(plain, Images()).image)
    moved = Images(Path(server.url), tmp_path)  # by now the files are here
    assert thumbnail(there[0], moved) == thumbnail(plain, Images())
    assert thumbnail(replace(there[0], image=Path(server.url) / "2.jpg"), Images()).reason == "image file is missing"
    server.close()
    assert waits == []
    away = Images(Path(server.url))
    for pair in there:
        reason = thumbnail(replace(pair, image_sha256=f"{pair.image.name}"), away).reason
        assert reason.startswith(f"{server.url}/1.jpg could not be read")
    assert len(waits) == 3


def test_commands_take_the_url_of_an_image(demo_run: Path, tmp_path: Path) -> None:
    pair = pairs_of(load_run(demo_run))[0]
    server = Server(pair.image.parent)
    try:
        place = f"{server.url}/{pair.image.name}"
        said = [
            CliRunner().invoke(main, ["predict", str(demo_run), "--image", image, "--text", pair.text]).output
            for image in (place, str(pair.image))
        ]
        assert said[0] == said[1]
        assert said[0].splitlines()[0].split()[0] in LABELS
        words = ["explain", str(demo_run), "--image", place, "--text", pair.text, "--out", str(tmp_path / "a.html")]
        assert CliRunner().invoke(main, words).exit_code == 0
        gone = CliRunner().invoke(main, ["predict", str(demo_run), "--image", f"{server.url}/gone.jpg", "--text", "a"])
        assert f"{server.url}/gone.jpg: image file is missing" in gone.output
    finally:
        server.close()
    for secret in ("https://me:s3cret@h/a.jpg", "https://h/a.jpg?X-Amz-Signature=s3cret", "simplecache::s3://b/s3cret"):
        for command in (["predict", str(demo_run)], ["explain", str(demo_run), "--out", str(tmp_path / "b.png")]):
            done = CliRunner().invoke(main, [*command, "--image", secret, "--text", "a"])
            assert done.exit_code == 1
            assert "the image" in done.output
            assert "s3cret" not in done.output.replace("s3://b/s3cret", "")
    assert not (tmp_path / "b.png").exists()


def test_encoders_and_cache_explain_a_pair_alike(demo_run: Path) -> None:
    run = load_run(demo_run)
    predictor = Predictor(run, torch.device("cpu"))
    for pair in pairs_of(run)[:3]:
        made = explain(predictor, pair.image, pair.text)
        assert made.note == UNTRAINED_NOTE
        assert made.pair.size == pair.size == (256, 192)
        assert made.prediction.words == pair.prediction.words
        assert "".join(made.prediction.words) == pair.text.replace(" ", "")
        assert made.prediction.label == pair.prediction.label
        for one, other in zip(made.prediction.regions, pair.prediction.regions, strict=True):
            assert one.words == pytest.approx(other.words, abs=1e-3)
            assert (one.gate, one.attention) == pytest.approx((other.gate, other.attention), abs=1e-3)
            assert one.box == other.box


def test_a_number_of_a_raw_pair_is_that_of_the_cache(number_run: Path) -> None:
    """With its interval and the further target, from one image file and its text; on the terminal, page and figure."""
    run = load_run(number_run)
    pair = pairs_of(run)[0]
    made = explain(Predictor(run, torch.device("cpu")), pair.image, pair.text)
    assert made.prediction.value == pytest.approx(pair.prediction.value, abs=1e-4)
    assert made.prediction.interval == pytest.approx(pair.prediction.interval, abs=1e-4)
    own = pair.prediction.further["text-label"]
    assert made.prediction.further["text-label"].probabilities == pytest.approx(own.probabilities, abs=1e-4)
    arguments = ["--image", str(pair.image), "--text", pair.text]
    said = CliRunner().invoke(main, ["predict", str(number_run), *arguments])
    assert said.exit_code == 0, said.output
    first, second = said.output.splitlines()[:2]
    assert first == f"intensity: {made.prediction.label}  ({made.prediction.chances('.3f')})"
    assert second == f"text-label: {own.label}  ({own.chances('.3f')})"
    html = made.html()
    assert f'<h2 id="pairs-heading">Predicted {made.prediction.label}</h2>' in html
    assert f"<p>text-label: {own.label} ({own.chances('.1%')})</p>" in html
    (data,) = re.findall(r'id="data-pairs">(.*?)</script>', html, re.S)
    assert json.loads(data)["runs"][0]["span"] == [-1.0, 1.0]
    texts = " ".join(
        text.get_text() for text in replace(made, pair=replace(made.pair, label="0.5")).figure().axes[0].texts
    )
    assert f"{made.prediction.label}   ({made.prediction.chances('.3f')})   (true 0.5)" in texts


def test_command_draws_a_pair_with_the_runs_own_encoders(demo_run: Path, tmp_path: Path) -> None:
    image = pairs_of(load_run(demo_run))[0].image
    arguments = ["explain", str(demo_run), "--image", str(image), "--text", "poor cat, lovely house"]
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "fig7.png")])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[0].split()[0] in LABELS
    assert UNTRAINED_NOTE in done.output
    assert done.output.rstrip().endswith("fig7.png")
    assert (tmp_path / "fig7.png").read_bytes().startswith(b"\x89PNG")
    done = CliRunner().invoke(main, [*arguments, "--out", "fig7.gif"])
    assert done.exit_code == 2
    assert "expected a name that ends in .png, .pdf, .svg, .html" in done.output
    done = CliRunner().invoke(main, [*arguments[:3], __file__, *arguments[4:], "--out", str(tmp_path / "a.png")])
    assert done.exit_code == 1
    assert "name a whole JPEG, PNG, WebP, GIF, BMP or TIFF" in done.output


def readable(image: Path) -> bool:
    try:
        read_image(image)
    except BadFile:
        return False
    return True


@pytest.mark.parametrize(
    ("head", "kinds", "encoders"),
    [
        ("text-only", ["tokens"], ["tokens"]),
        ("image-only", ["context", "regions"], ["context", "regions"]),
        ("concat", ["context", "regions", "tokens"], ["context", "regions", "tokens"]),
        ("majority", ["context"], []),
    ],
)
def test_heads_that_look_at_less_predict_raw_pairs_as_in_training(
    demo_run: Path, tmp_path: Path, head: str, kinds: list[str], encoders: list[str]
) -> None:
    """From the stores that they look at alone, by the encoders of what they read."""
    cache = shutil.copytree(demo_run.parent / "cache", tmp_path / "cache")
    for store in cache.glob("*/*-*/"):
        if store.is_dir() and store.name.partition("-")[0] not in kinds:
            shutil.rmtree(store)
    words = ["--cache", cache, "--out", tmp_path / "run", "--head", head, "--epochs", "1"]
    assert CliRunner().invoke(main, ["train", *map(str, words)]).exit_code == 0
    run = load_run(tmp_path / "run")
    assert sorted(run.record["stores"]) == kinds
    pairs = [pair for pair in pairs_of(run) if readable(pair.image)]  # the demo has an image that is cut short
    predictor = Predictor(run, torch.device("cpu"))
    assert list(predictor._encoders) == encoders
    found = predictor.predict([(read_image(pair.image), pair.text) for pair in pairs])
    for pair, own in zip(pairs, found, strict=True):
        assert own.probabilities == pytest.approx(pair.prediction.probabilities, abs=1e-5)
        assert own.regions == []
