"""The page of a report: what it says, that other people's texts stay texts, and that nothing may be fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from itin.errors import RunError
from itin.report.page import html as pages
from itin.report.page.figures import Line, LineChart, Matrix, curve
from itin.report.page.html import Page, cell_text, numeric, to_script, write_page
from itin.report.page.section import Section

EVIL = [
    "<script>window.evil = 1</script>",
    "</script><script>window.evil = 2</script>",
    '"><img src=x onerror="window.evil = 3">',
    "{{7*7}}{% raw %}",
    "a\u2028b\u2029c",
    "</style><style>* { display: none }</style>",
    "--><!--",
    "&lt;b&gt;",
]
NOON = datetime(2026, 1, 2, 12, 0, tzinfo=timezone.utc)


def page_html(sections: Sequence[Section], now: datetime | None = None, **page: Any) -> str:
    return pages.page_html(Page(sections=sections, **page), now)


class Outline(HTMLParser):
    """The elements of a page, and the text of each kind."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip() and self.elements:
            self.texts.append((self.elements[-1][0], data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def said(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def table() -> pd.DataFrame:
    return pd.DataFrame({"head": ["ITIN", "concat"], "accuracy": ["75.2% (73.0% – 77.4%)", "70.1%"], "n": [450, 450]})


def test_sections_become_headings_paragraphs_and_tables() -> None:
    section = Section("scores", "Scores", ["First.", "Second."], table(), caption="What it shows.", notes=["A note."])
    page = Outline(page_html([section, Section("rest", "The rest")], title="A title", intro=["Intro."], now=NOON))
    assert page.said("h1") == ["A title"]
    assert page.said("h2") == ["Scores", "The rest"]
    assert page.said("p")[:4] == ["Intro.", "First.", "Second.", "A note."]
    assert page.said("caption") == ["What it shows."]
    assert [one["scope"] for one in page.all("th")] == ["col"] * 3 + ["row"] * 2
    assert page.said("th") == ["head", "accuracy", "n", "ITIN", "concat"]
    assert page.said("td") == ["75.2% (73.0% – 77.4%)", "450", "70.1%", "450"]
    assert [one["href"] for one in page.all("a")][1:] == ["#scores", "#rest"]
    assert {"scores", "rest"} <= {one.get("id") for one in page.all("section")}
    assert "2026-01-02 12:00" in page.said("p")[-1]


def test_banner_stands_first_on_the_page() -> None:
    page = Outline(page_html([], title="T", banner="Nothing is learned."))
    assert ("div", {"class": "banner", "role": "note"}) in page.elements
    assert "Nothing is learned." in page.said("strong")
    assert not [one for one in Outline(page_html([], title="T")).all("div") if one.get("class") == "banner"]


@pytest.mark.parametrize("evil", EVIL)
def test_texts_of_others_stay_texts(evil: str) -> None:
    chart = LineChart("chart", evil, evil, evil, (Line(evil, (0, 1), (0, 1)),), 1, evil)
    matrix = Matrix("matrix", evil, (evil, "b"), ((1, 2), (3, 4)))
    frame = pd.DataFrame({evil: [evil], "b": [1]})
    section = Section("s", evil, [evil], frame, evil, [chart, matrix], [evil])
    html = page_html([section], title=evil, intro=[evil], banner=evil, data={"other": [evil]})
    page = Outline(html)
    plain = Outline(page_html([Section("s", "x", ["x"], frame.set_axis(["a", "b"], axis=1), "x", [chart, matrix], ["x"])], title="x", intro=["x"], banner="x", data={"other": ["x"]}))  # fmt: skip  # noqa: E501
    assert [tag for tag, _ in page.elements] != []
    assert len(page.all("script")) == len(plain.all("script")) == 2
    assert len(page.all("style")) == 1
    assert not page.all("img")
    assert page.said("h1") == [evil.strip()]
    (text,) = re.findall(r'<script type="application/json" id="data-other">(.*?)</script>', html, re.S)
    assert json.loads(text) == [evil]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_json_in_a_script_cannot_end_it() -> None:
    text = to_script({"a": "</script><!--&\u2028\u2029\ud800"})
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028\u2029\ud800"}


def test_the_page_may_fetch_nothing_and_run_only_its_own_script() -> None:
    html = page_html([], title="T")
    page = Outline(html)
    (policy,) = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for rule, tag in (("script-src", "script"), ("style-src", "style")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    addresses = {value for _, one in page.elements for key, value in one.items() if key in ("src", "href")}
    assert all(value is not None and value.startswith(("#", "data:")) for value in addresses)
    assert "style" not in {key for _, one in page.elements for key in one}  # the policy would not let them count


def test_figures_are_in_the_page_with_a_title_and_a_description() -> None:
    data = pd.DataFrame({"m": [0, 1, 2], "accuracy": [0.70, 0.73, 0.75], "weighted_f1": [0.69, 0.72, 0.74]})
    section = Section(
        "fig5", "Fig. 5", figures=[curve("fig5", "Fig. 5", data, "m", "m", mark=2, mark_label="the paper's m")]
    )
    page = Outline(page_html([section], title="T"))
    (svg,) = page.all("svg")
    assert svg["role"] == "img"
    assert svg["aria-labelledby"] == "fig5-title fig5-desc"
    assert "accuracy from 70.0% at 0 to 75.0% at 2" in page.said("desc")[0]


def test_columns_of_numbers_stand_at_the_right() -> None:
    numbers = ["75.2%", "75.2 ± 0.3", "0.75 (0.73 – 0.77)", "-1.5", "–", "< 0.001", "1,234", ""]
    frame = pd.DataFrame({"a": numbers, "b": ["ITIN"] * 8, "c": [1.5, None] * 4, "d": ["m = 2"] * 8, "e": [""] * 8})
    assert numeric(frame) == [True, False, True, False, False]
    assert [cell_text(cell) for cell in (None, np.nan, pd.NA, 0.123456, 3, "x")] == ["", "", "", "0.1235", "3", "x"]


def test_names_are_unique_anchors() -> None:
    with pytest.raises(ValueError, match=r"section or figure 'a b': expected a name of a-z, 0-9 and -"):
        page_html([Section("a b", "A")], title="T")
    figure = Matrix("a", "A", ("x",), ((1,),))
    with pytest.raises(ValueError, match=r"section or figure 'a': expected names that are unique, found it twice"):
        page_html([Section("a", "A", figures=[figure, figure])], title="T")
    with pytest.raises(ValueError, match="'a': expected names that are unique"):
        page_html([Section("a", "A"), Section("a", "B")], title="T")


def test_file_is_written_whole_into_a_new_folder(tmp_path: Path) -> None:
    path = write_page(Page("T", [Section("a", "caf\udce9")]), tmp_path / "new" / "report.html")
    assert path == tmp_path / "new" / "report.html"
    assert "caf&#56553;" in path.read_text(encoding="utf-8")
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot make the folder .*file/x: .*\n  next:     choose another place"):
        write_page(Page("T", []), tmp_path / "file" / "x" / "report.html")
