"""Lexicons: values against published and hand-made ones, languages, names, and identities."""

from __future__ import annotations

import hashlib
import math
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from itin.errors import RunError
from itin.train.lexicons import identity
from itin.train.lexicons.identity import files_of
from itin.train.lexicons.language import clean, is_english
from itin.train.lexicons.registry import LEXICONS, count_of, parse_names
from itin.train.lexicons.values import foreign, joined, lexicon_values, record_of

if not all(find_spec(package) for package in ("vaderSentiment", "afinn", "textblob")):
    pytest.skip("needs the extra lexicons", allow_module_level=True)


def of(name: str, text: str) -> list[float]:
    return [round(float(value), 5) for value in lexicon_values([name], [text])[name][0]]


def test_vader_gives_what_its_authors_print() -> None:
    # https://github.com/cjhutto/vaderSentiment, "Code Examples"
    for text, neg, neu, pos, compound in [
        ("VADER is smart, handsome, and funny.", 0.0, 0.254, 0.746, 0.8316),
        ("VADER is not smart, handsome, nor funny.", 0.646, 0.354, 0.0, -0.7424),
        ("Today SUX!", 0.779, 0.221, 0.0, -0.5461),
    ]:
        assert of("vader", text) == [neg, neu, pos, compound]


def test_pattern_gives_what_textblob_prints() -> None:
    # https://textblob.readthedocs.io/en/dev/quickstart.html, "Sentiment Analysis"
    assert of("pattern", "Textblob is amazingly simple to use. What great fun!") == [0.39167, 0.43571]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good and bad", [0, 3, -3, 0]),
        ("some kind of IDIOT", [-3, 0, -3, 0]),
        ("goodness, badly", [0, 3, -3, 0]),  # both are entries; neither is read as good or bad
        ("a badminton goodie", [0, 0, 0, 0]),  # no entries, though they begin with some
        ("It is\nwonderful :-)", [4, 4, 0, 2]),
        ("foxon toxon xoxo 8D, 18D", [3, 3, 0, 6]),  # no emoticon within a word
        ("great:D", [3, 3, 0, 3]),
        ("cool   stuff", [3, 3, 0, 0]),  # a phrase, not cool (1)
    ],
)
def test_afinn_sums_words_phrases_and_emoticons(text: str, expected: list[float]) -> None:
    assert of("afinn", text) == expected


def test_afinn_on_single_words_gives_its_own_list() -> None:
    path = files_of("afinn")[0]
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    values = lexicon_values(["afinn"], [f"({word})" for word, _ in rows])["afinn"]
    known = ~np.isnan(values[:, 0])
    assert known.mean() > 0.99
    np.testing.assert_array_equal(values[known, 0], np.array([float(score) for _, score in rows])[known])
    assert "afinn" not in sys.modules  # its code is not imported


def test_hashtags_by_their_words() -> None:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    valence = SentimentIntensityAnalyzer().lexicon
    happy, sad, love, war = (valence[word] for word in ("happy", "sad", "love", "war"))
    for text, found in [
        ("#happy times, so sad", [happy]),
        ("#HAPPY #sad #table", [happy, sad]),
        ("#LoveNotWar", [love + war]),
        ("#love_2015 #sad", [love, sad]),
        ("#table", [0.0]),
        ("nothing", [0.0]),
    ]:
        assert of("hashtags", text) == pytest.approx([sum(found), max(found), min(found)], abs=1e-4), text


def test_shape_counts_marks() -> None:
    log = math.log
    text = "RT @ann: WoW!! #sun #sea who? https://t.co/x1 \u2026\U0001f600"
    assert of("shape", text) == pytest.approx([log(9), log(3), log(2), log(3), log(2), 1, 1, 4 / 26, log(3)], abs=1e-5)
    assert of("shape", "") == [0.0] * 9
    assert of("shape", "\u0414\u0430, art") == pytest.approx([log(3), 0, 0, 0, 0, 0, 0, 1 / 5, 0], abs=1e-5)


def test_names_and_links_do_not_count() -> None:
    for name in ("vader", "afinn", "pattern"):
        assert of(name, "@happylove the table https://love.example/great") == of(name, "the table")
        assert of(name, "the happy table") != of(name, "the table")
    assert clean("RT @a_1: look  http://t.co/x www.love.com now http\u2026") == "RT : look now"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://t.co/x @\u0410\u043d\u043d\u0430",
        "WOMENS WHITE DRESS MEDIUM",
        "Rio de Janeiro",
        "Que bella, the best of the day for us",  # one word of another language
        "los angeles is where the y is",
        "#\u5199\u771f #love to see this old house again",  # fewer than half of the letters
    ],
)
def test_english_or_unclear(text: str) -> None:
    assert is_english(text)


@pytest.mark.parametrize(
    "text",
    [
        "\u5199\u771f\u597d\u304d #sea",
        "\u0421 \u0434\u043d\u0435\u043c \u0441\u0432\u044f\u0442\u043e\u0433\u043e, my dear",
        "El nuevo trailer es para ti",
        "N\u00e3o \u00e9 um adeus #sunset #in #the #paris",
        "Na\u0303o e\u0301 um adeus",  # accents as characters of their own
        "C\u2019est pas vrai",
        "Ik ben op zoek naar een kitten",
        "may bago na naman akong kung yung the",
    ],
)
def test_other_languages_get_no_values(text: str) -> None:
    assert not is_english(text)
    values = lexicon_values(["vader", "shape"], ["so happy", text])
    assert np.isnan(values["vader"][1]).all()
    assert not np.isnan(values["vader"][0]).any()
    assert not np.isnan(values["shape"]).any()
    assert foreign(values) == 1
    assert foreign({"shape": values["shape"]}) == 0


def test_names() -> None:
    assert parse_names("") == parse_names("none") == ()
    assert parse_names("shape+vader") == parse_names("vader, shape,vader") == ("vader", "shape")
    for wrong in ("vadr", "vader+", "none+vader", "VADER"):
        with pytest.raises(ValueError, match=r"lexicons: expected none, or vader, afinn, .* joined by"):
            parse_names(wrong)
    assert count_of(LEXICONS) == 22


def test_values_side_by_side() -> None:
    values = lexicon_values(["shape", "vader"], ["so happy!", "a table"])
    both = joined(values, ("vader", "shape"), 2)
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both, np.concatenate([values["vader"], values["shape"]], 1))
    assert joined({}, (), 3).shape == (3, 0)
    assert lexicon_values(["vader"], [])["vader"].shape == (0, 4)


def test_identity_names_version_and_list() -> None:
    import vaderSentiment

    record = record_of(["vader", "shape"])
    folder = Path(vaderSentiment.__file__).parent
    whole = (folder / "vader_lexicon.txt").read_bytes() + (folder / "emoji_utf8_lexicon.txt").read_bytes()
    assert record["vader"] == {
        "revision": 1,
        "package": "vaderSentiment",
        "version": version("vaderSentiment"),
        "sha256": hashlib.sha256(whole).hexdigest(),
    }
    assert record["shape"] == {"revision": 1}
    assert record["language"] == 1
    assert record_of(["shape"]) == {"shape": {"revision": 1}}


@pytest.mark.parametrize("name", ["vader", "afinn", "pattern", "hashtags"])
def test_a_missing_package_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("vaderSentiment.vaderSentiment", "textblob.en"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(identity, "find_spec", lambda name: None)
    identity.identity_of.cache_clear()
    for use in (lambda: lexicon_values([name], ["x"]), lambda: record_of([name])):
        with pytest.raises(RunError, match=r"which is not installed[\s\S]*pip install 'itin\[lexicons\]'"):
            use()
