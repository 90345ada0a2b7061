"""Equal texts and images, and the groups that they make."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest

from itin.errors import DataError
from itin.train.protocols.duplicates import groups_of, image_keys, sets_of, strip, text_keys


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("RT @ann_1: A day  at sea http://t.co/a1b2", "A day at sea"),
        ("RT @a: RT @b: again", "again"),
        ("rt @a so it goes", "so it goes"),
        ("@ann: not a retweet", "@ann: not a retweet"),
        ("A day https://x.org/y?z=1 at www.sea.org today", "A day at today"),
        ("cut short http", "cut short"),
        ("cut short https…", "cut short"),
        ("cut short http://t…", "cut short"),
        ("the http header", "the http header"),
        ("START here", "START here"),
        ("http://t.co/a", ""),
        ("RT @a: http:", ""),
    ],
)
def test_strip(text: str, left: str) -> None:
    assert strip(text) == left


def test_keys() -> None:
    texts = ["RT @a: sun", "sun", "sun http://t.co/1", "http://t.co/2", "http://t.co/3"]
    samples = pd.DataFrame({"text": texts, "text_sha256": list("abcde"), "image_sha256": list("vvxyz")})
    assert text_keys(samples) == list("abcde")
    assert text_keys(samples, "stripped") == ["sun", "sun", "sun", None, None]  # what is left empty equals nothing
    assert image_keys(samples) == list("vvxyz")
    assert sets_of(text_keys(samples, "stripped")) == [[0, 1, 2]]
    with pytest.raises(ValueError, match="way: expected one of exact, stripped, got 'loose'"):
        text_keys(samples, "loose")
    for column, keys in (("text_sha256", text_keys), ("image_sha256", image_keys)):
        with pytest.raises(DataError, match=rf"which samples are equal[\s\S]*the column {column}[\s\S]*itin extract"):
            keys(samples.drop(columns=column))


def test_groups_are_what_hangs_together() -> None:
    """0-2 by their text, 2-4 by their image, so all three; 1 with 5; 3 alone."""
    texts = ["a", "b", "a", None, "c", "b"]
    images = ["1", "2", "3", "4", "3", "5"]
    assert groups_of(texts, images).tolist() == [0, 1, 0, 2, 0, 1]
    assert groups_of([None, None]).tolist() == [0, 1]
    assert groups_of(["x", "x"]).tolist() == [0, 0]


def test_a_text_and_an_image_of_the_same_digest_are_not_equal() -> None:
    same = hashlib.sha256(b"").hexdigest()
    assert groups_of([same, "t"], ["i", same]).tolist() == [0, 1]
