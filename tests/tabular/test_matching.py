"""Two lists of ids: what is on one side alone, and the cause that is named for it."""

from __future__ import annotations

import pytest

from itin.tabular.matching import Match, examples, match


@pytest.mark.parametrize(
    ("ours", "theirs", "cause"),
    [
        (["001", "002", "010"], ["1", "2", "10"], "leading zeros: '001' against '1', 3 such"),
        (["tweet7"], ["tweet007"], "leading zeros: 'tweet7' against 'tweet007', 1 such"),
        (["1", "2"], ["1.jpg", "2.PNG"], "file extensions: '1' against '1.jpg', 2 such"),
        (["Ab", "cD"], ["ab", "CD"], "upper and lower case: 'Ab' against 'ab', 2 such"),
        (["a b", "c"], [" a  b", "c\u00a0"], r"spaces: 'a b' against ' a  b', 2 such"),
        (["\ufeff7"], ["7"], r"spaces: '\ufeff7' against '7', 1 such"),
        (["caf\u00e9"], ["cafe\u0301"], r"two forms of Unicode (NFC and NFD): 'caf\xe9' against 'cafe\u0301', 1 such"),
        (["x/1"], [r"x\1"], r"backslashes: 'x/1' against 'x\\1', 1 such"),
        (["1", "2"], ["train/1", "test/2"], "folders before the name: '1' against 'train/1', 2 such"),
        (["12"], ["12.0"], "numbers with a decimal point: '12' against '12.0', 1 such"),
        (["12"], ['"12"'], """quotation marks: '12' against '"12"', 1 such"""),
        (
            ["1"],
            [r"D:\pics\0001.JPG"],
            r"leading zeros and backslashes and folders before the name and file extensions: "
            r"'1' against 'D:\\pics\\0001.JPG', 1 such",
        ),
    ],
)
def test_causes(ours: list[str], theirs: list[str], cause: str) -> None:
    assert match(ours, theirs).cause == f"likely cause: {cause}"
    assert match([*ours, "same"], ["same", *theirs]).cause == f"likely cause: {cause}"
    assert match(theirs, ours).cause is not None


@pytest.mark.parametrize(("ours", "theirs"), [(["a"], ["b"]), ([], ["b"]), (["a"], []), ([], []), (["1"], ["2.jpg"])])
def test_no_cause(ours: list[str], theirs: list[str]) -> None:
    assert match(ours, theirs).cause is None


def test_a_cause_of_a_few_ids_among_many_is_none() -> None:
    ours, theirs = [f"a{i}" for i in range(100)], [f"b{i}" for i in range(100)]
    assert (
        match([*ours, *("x0" + str(i) for i in range(5))], [*theirs, *("x" + str(i) for i in range(5))]).cause is None
    )


def test_what_is_on_one_side_alone() -> None:
    met = match(["1", "2", "3", "3", "4"], ["9", "3", "4", "8", "9"])
    assert met == Match(2, ("1", "2"), ("9", "8"))
    assert met.lines("ours", "theirs") == ["ours: 2 (1, 2)", "theirs: 2 (9, 8)"]
    assert match(["01"], ["1", "2"]).lines("missing") == [
        "missing: 1 (01)",
        "likely cause: leading zeros: '01' against '1', 1 such",
    ]
    assert match(["1"], ["1"]).lines("ours", "theirs") == []


@pytest.mark.parametrize(("lost", "many"), [(0, False), (1, False), (2, True), (20, True)])
def test_many_is_more_than_a_twentieth(lost: int, many: bool) -> None:
    ids = [str(i) for i in range(20)]
    assert match(ids, ids[lost:]).loses_many == many


def test_examples_hold_no_control_characters() -> None:
    assert examples(["a", "b\n", "\x1b[2J", " c"]) == r"a, 'b\n', '\x1b[2J', ' c'"
    assert examples([str(i) for i in range(6)]) == "0, 1, 2, 3, 4 and so on"
