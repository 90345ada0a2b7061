"""Figures and tables of a report against the data that they show."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from itin.report.page.figures import Figure, Line, LineChart, Matrix, Reliability, curve, extent, ticks
from itin.report.page.files import to_latex, write_figures, write_tables
from itin.report.page.number_figures import Histogram, Scatter, levels_of
from itin.report.page.plot import plot
from itin.report.page.section import Section
from itin.report.page.svg import to_svg

NAN = float("nan")
CHART = LineChart(
    "chart",
    "A chart",
    "epoch",
    "Loss",
    (Line("training", (1, 2, 4), (1.0, 0.5, 0.25)), Line("validation", (1, 2, 4), (1.5, NAN, 0.5), dashed=True)),
)
MATRIX = Matrix("matrix", "Counts", ("positive", "neutral", "negative"), ((6, 2, 0), (1, 3, 0), (0, 0, 0)))
SCATTER = Scatter.of("scatter", "Levels", [-1, -1, 0, 1, 1, 1], [-0.5, -0.5, 0.5, 1, 1, -1], (-1.0, 1.0), 0.5)
HISTOGRAM = Histogram.of("errors", "Errors", "predicted − true", [-0.9, 0.1, 0.1, 0.35], bins=4)
RELIABILITY = Reliability("bins", "Trust", (0.0, 0.5, 1.0), (0, 4), (NAN, 0.8), (NAN, 0.75), 0.05)


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", text)]


def test_lines_pass_through_their_points() -> None:
    root = ET.fromstring(to_svg(CHART))
    (training, validation) = [numbers(one.attrib["points"]) for one in root.iter("polyline")]
    xs, ys = training[0::2], training[1::2]
    assert (xs[2] - xs[0]) / (xs[1] - xs[0]) == pytest.approx(3, abs=0.01)  # 1, 2, 4
    assert (ys[2] - ys[0]) / (ys[1] - ys[0]) == pytest.approx(1.5, abs=0.01)  # 1, 0.5, 0.25; down is greater
    assert ys[0] < ys[1] < ys[2]
    assert validation == [xs[0], pytest.approx(validation[1]), xs[2], pytest.approx(ys[1])]  # 0.5 of both; NaN left out
    said = [one.text for one in root.iter("title")]
    assert "training at 2: 0.5" in said
    assert "validation at 4: 0.5" in said


def test_bands_and_marks_stand_where_their_values_are() -> None:
    line = Line("accuracy", (0, 1), (0.5, 0.6), (0.4, 0.55), (0.6, 0.65))
    chart = LineChart("c", "C", "λ", "Accuracy", (line,), mark=0.5, mark_label="here", percent=True)
    root = ET.fromstring(to_svg(chart))
    (polygon,) = (numbers(one.attrib["points"]) for one in root.iter("polygon"))
    (middle,) = (numbers(one.attrib["points"]) for one in root.iter("polyline"))
    assert polygon[0::2] == [middle[0], middle[2], middle[2], middle[0]]
    assert (polygon[1] + polygon[7]) / 2 == pytest.approx(middle[1], abs=0.02)  # 0.4 to 0.6 around 0.5
    (mark,) = (one for one in root.iter("line") if one.get("class") == "mark")
    assert float(mark.attrib["x1"]) == pytest.approx((middle[0] + middle[2]) / 2)
    assert "accuracy at 1: 60.0% (55.0% to 65.0%)" in [one.text for one in root.iter("title")]


def test_matrix_says_each_count_and_shades_by_row() -> None:
    root = ET.fromstring(to_svg(MATRIX))
    counts = [one.text for one in root.iter("text") if one.get("class") == "count"]
    assert counts == ["6", "2", "0", "1", "3", "0", "0", "0", "0"]
    opacities = [float(one.attrib["fill-opacity"]) for one in root.iter("rect")]
    assert opacities == pytest.approx([0.425, 0.175, 0.05, 0.175, 0.425, 0.05, 0.05, 0.05, 0.05])
    assert MATRIX.alt.startswith("Counts: of 8 positive, 6 as positive, 2 as neutral, 0 as negative; of 4 neutral")


def test_reliability_bars_have_the_height_of_their_accuracy() -> None:
    root = ET.fromstring(to_svg(RELIABILITY))
    (bar,) = (one for one in root.iter("rect") if one.get("class") == "bar")
    (diagonal,) = (one for one in root.iter("line") if one.get("class") == "mark")
    whole = float(diagonal.attrib["y1"]) - float(diagonal.attrib["y2"])
    assert float(bar.attrib["height"]) / whole == pytest.approx(0.75, abs=1e-3)
    (dot,) = root.iter("circle")
    place = (float(dot.attrib["cx"]) - float(diagonal.attrib["x1"])) / (
        float(diagonal.attrib["x2"]) - float(diagonal.attrib["x1"])
    )
    assert place == pytest.approx(0.8, abs=1e-3)
    assert RELIABILITY.alt == "Trust: 4 at 80% confidence, 75% right. Expected calibration error 5.0%."


def test_scatter_has_a_disc_for_the_pairs_of_each_place() -> None:
    """Two pairs at (-1, -0.5) and two at (1, 1) have twice the area of the one at (0, 0.5)."""
    root = ET.fromstring(to_svg(SCATTER))
    discs = {one[0].text: one.attrib for one in root.iter("circle")}
    assert [one for one in discs if one and one.startswith(("1 pair", "2 pairs"))] == [
        "2 pairs: −1, predicted −0.5", "1 pair: 0, predicted 0.5", "1 pair: 1, predicted −1", "2 pairs: 1, predicted 1",
    ]  # fmt: skip
    two, one = discs["2 pairs: 1, predicted 1"], discs["1 pair: 0, predicted 0.5"]
    assert float(two["r"]) / float(one["r"]) == pytest.approx(2**0.5, abs=0.01)
    (diagonal,) = (numbers(" ".join(line.attrib[at] for at in ("x1", "y1", "x2", "y2")))
                   for line in root.iter("line") if line.get("class") == "mark")  # fmt: skip
    assert [float(two["cx"]), float(two["cy"])] == pytest.approx(diagonal[2:], abs=0.02)
    (means,) = (numbers(line.attrib["points"]) for line in root.iter("polyline"))
    assert means[0::2] == pytest.approx([diagonal[0], (diagonal[0] + diagonal[2]) / 2, diagonal[2]], abs=0.02)
    height = diagonal[1] - diagonal[3]  # of a prediction from -1 to 1
    assert means[1::2] == pytest.approx([diagonal[1] - height * share for share in (0.25, 0.75, 2 / 3)], abs=0.02)
    (band,) = (numbers(one.attrib["points"]) for one in root.iter("polygon"))
    x, y = diagonal[0::2], diagonal[1::2]
    at = [(x[0] + share * (x[1] - x[0]), y[0] + rise * (y[1] - y[0])) for share, rise in (
        (0, 0.25), (0.25, 0.5), (0.75, 1), (1, 1), (1, 0.75), (0.75, 0.5), (0.25, 0), (0, 0))]  # fmt: skip
    assert band == pytest.approx([value for corner in at for value in corner], abs=0.02)
    assert SCATTER.alt == (
        "Levels: predicted in the mean −0.5 where −1 is true, 0.5 where 0 is true, 0.333 where 1 is true."
    )


def test_scatter_of_many_values_groups_them_and_reaches_what_lies_outside() -> None:
    rng = np.random.default_rng(0)
    true, said = rng.uniform(1, 5, 3000), rng.uniform(0, 7, 3000)
    many = Scatter.of("many", "Many", true, said, (1.0, 5.0))
    assert len(many.means) == 10
    assert len(many.marks) <= 48 * 48
    assert sum(count for *_, count in many.marks) == 3000
    assert (many.x, many.y) == ((1.0, 5.0), (pytest.approx(said.min()), pytest.approx(said.max())))
    group = (true >= 1) & (true < 1.4)
    assert many.means[0] == (pytest.approx(true[group].mean()), pytest.approx(said[group].mean()))
    assert "polygon" not in to_svg(many)


def test_levels() -> None:
    span = (-1.0, 1.0)
    names, rows = zip(*levels_of(np.array([0.1 + 0.2, -1 / 3, 0.3, 1]), span), strict=True)
    assert names == ("−0.333", "0.3", "1")
    assert [list(one) for one in rows] == [[1], [0, 2], [3]]
    values = np.append(np.linspace(-1, 1, 101), 3.0)  # one beyond the span
    grouped = levels_of(values, span)
    assert (grouped[0][0], grouped[-1][0]) == ("−1 to −0.6", "2.6 to 3")
    assert sorted(np.concatenate([rows for _, rows in grouped])) == list(range(102))


def test_histogram_counts_errors_about_zero() -> None:
    """Four bins from -0.9 to 0.9."""
    assert HISTOGRAM.edges == pytest.approx((-0.9, -0.45, 0, 0.45))
    assert HISTOGRAM.counts == (1, 0, 3)
    root = ET.fromstring(to_svg(HISTOGRAM))
    bars = [one for one in root.iter("rect") if one.get("class") == "bar"]
    assert [one[0].text for one in bars] == ["1 pair from −0.9 to −0.45", "3 pairs from 0 to 0.45"]
    assert float(bars[1].attrib["height"]) / float(bars[0].attrib["height"]) == pytest.approx(3, abs=1e-3)
    (zero,) = (one for one in root.iter("line") if one.get("class") == "mark")
    assert float(zero.attrib["x1"]) == pytest.approx(float(bars[1].attrib["x"]) - 0.5, abs=0.02)
    assert HISTOGRAM.alt == "Errors, predicted − true: 1 from −0.9 to −0.45, 3 from 0 to 0.45."
    right = Histogram.of("right", "No errors", "error", [0.0, 0.0])
    assert right.counts == (2,)
    assert ET.fromstring(to_svg(right)) is not None


def test_a_curve_becomes_a_chart_in_the_order_of_x() -> None:
    data = pd.DataFrame(
        {"m": [2, 0], "accuracy": [0.75, 0.70], "accuracy_low": [0.7, 0.6], "accuracy_high": [0.8, 0.7]}
    )
    chart = curve("fig5", "Fig. 5", data, "m", "regions m", ("accuracy",), 2, "the paper's m")
    assert chart.lines == (Line("accuracy", (0, 2), (0.70, 0.75), (0.6, 0.7), (0.7, 0.8)),)
    assert (chart.mark, chart.mark_label, chart.y_label) == (2, "the paper's m", "Accuracy")
    assert chart.alt == ("Accuracy against regions m: accuracy from 70.0% at 0 to 75.0% at 2, greatest 75.0% at 2.")


def test_ticks_are_round_and_within_the_range() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(0.673, 0.781) == [0.675, 0.7, 0.725, 0.75, 0.775]
    assert ticks(3, 3) == [3]
    assert extent(LineChart("a", "A", "x", "y", ())) == ((0, 1), pytest.approx((0, 1.06)))
    (x, y) = extent(CHART)
    assert x == (1, 4)
    assert y == pytest.approx((0.25 - 0.075, 1.575))


@pytest.mark.parametrize("figure", [CHART, MATRIX, RELIABILITY, SCATTER, HISTOGRAM], ids=lambda figure: figure.name)
def test_print_shows_the_same_data(figure: Figure) -> None:
    (axes,) = plot(figure).axes
    if isinstance(figure, LineChart):
        assert list(axes.lines[0].get_ydata()) == [1.0, 0.5, 0.25]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "validation"]
    elif isinstance(figure, Matrix):
        assert [text.get_text().split("\n")[0] for text in axes.texts] == [str(n) for row in figure.counts for n in row]
    elif isinstance(figure, Scatter):
        assert [tuple(one) for one in axes.collections[1].get_offsets()] == [mark[:2] for mark in figure.marks]
        assert list(axes.lines[1].get_ydata()) == [value for _, value in figure.means]
    elif isinstance(figure, Histogram):
        assert [patch.get_height() for patch in axes.patches] == [1, 0, 3]
    else:
        assert [patch.get_height() for patch in axes.patches] == [0, 0.75]
        assert np.array_equal(axes.lines[0].get_xdata(), [NAN, 0.8], equal_nan=True)


def test_names_of_others_are_no_formulae(tmp_path: Path) -> None:
    chart = LineChart("c", "C", "$x", r"\frac", (Line("_a $1$ 猫", (0, 1), (0, 1)),))
    for kind in ("pdf", "png", "svg"):
        (path,) = write_figures([Section("s", "S", figures=[chart])], tmp_path, kind)
        assert path == tmp_path / f"c.{kind}"
        assert path.stat().st_size > 1000
    again = tmp_path / "again"
    (copy,) = write_figures([Section("s", "S", figures=[chart])], again)
    assert copy.read_bytes() == (tmp_path / "c.pdf").read_bytes()
    with pytest.raises(ValueError, match="figures: expected one of pdf, png, svg, got 'gif'"):
        write_figures([], tmp_path, "gif")


def test_tables_are_files_that_read_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({"head_name": ["a & b", "50%"], "λ": ["0.2 ± 0.1", "0.3"]})
    section = Section("tab", "Title", table=frame, caption="100% of {it}")
    assert write_tables([section, Section("no", "None")], tmp_path / "t") == [
        tmp_path / "t" / "tab.csv",
        tmp_path / "t" / "tab.tex",
    ]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t" / "tab.csv", dtype=str), frame.astype("str"))
    latex = (tmp_path / "t" / "tab.tex").read_text()
    assert r"\begin{tabular}{lr}" in latex
    assert r"head\_name & $\lambda$ \\" in latex
    assert r"a \& b & 0.2 $\pm$ 0.1 \\" in latex
    assert r"50\% & 0.3 \\" in latex
    assert r"\caption{100\% of \{it\}}" in latex
    assert r"\label{tab:tab}" in latex
    with pytest.raises(ValueError, match="section 'no' has no table"):
        to_latex(Section("no", "None"))


@pytest.mark.parametrize("size", [2, 7, 12, 40, 120])
def test_matrices_of_any_size_can_be_read(size: int) -> None:
    """Numbers as long as there is room, then colours alone, of the cells that are not empty; and nothing is lost."""
    names = [f"a class with quite a long name, {n}" for n in range(size)]
    counts = np.zeros((size, size), int)
    counts[0, 1], counts[1, 1], counts[0, 0] = 3, 4, 1
    matrix = Matrix.of("m", "M", names, counts.tolist())
    kept = 2 if size > 12 else size
    assert matrix.classes == tuple(names[:kept])
    root = ET.fromstring(to_svg(matrix))
    titles = [one.text for one in root.iter("title")]
    assert f"3 of 4 {names[0]} predicted as {names[1]}" in titles
    assert names[1] in titles  # the whole name of one that is cut
    assert "a class with quite a lo…" in [one.text for one in root.iter("text")]
    assert f"of 4 {names[0]}, 1 as {names[0]}, 3 as {names[1]}" in matrix.alt
    plot(matrix)


def test_a_matrix_of_many_classes_draws_what_there_is() -> None:
    counts = np.diag(np.arange(1, 41))
    counts[3, 5] = 2
    matrix = Matrix.of("m", "M", [f"c{n}" for n in range(40)], counts.tolist())
    root = ET.fromstring(to_svg(matrix))
    cells = [one for one in root.iter("rect") if one.attrib["class"].startswith("cell")]
    assert len(cells) == 41
    assert not [one for one in root.iter("text") if one.attrib["class"] in ("count", "share")]
    (wrong,) = [one for one in cells if one.attrib["class"] == "cell wrong"]
    right = [float(one.attrib["x"]) for one in cells if one.attrib["class"] == "cell right"]
    assert float(wrong.attrib["x"]) == right[5]
    assert float(wrong.attrib["fill-opacity"]) == pytest.approx(0.15 + 0.85 * 2 / 6, abs=1e-3)
    assert len(matrix.alt) < 2000
    plot(matrix)
