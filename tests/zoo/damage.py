"""The kinds of damage to a store, each a small function that does it to a sound one.

The store of tokens has three shards of eight rows; row 4 (id 5) is in quarantine.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from itin.cache.format.sealed_json import read_json, to_json
from itin.cache.format.shard_read import Shard

Damage = Callable[[Path], None]
"""What does the damage to a store, given its folder."""

SHARDS = ("shard-00000.h5", "shard-00001.h5", "shard-00002.h5")


# Shards --------------------------------------------------------------------------------------------------------------


def flip(path: Path, place: int) -> None:
    """Change one bit of one byte."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def flip_array(name: str, store: Path) -> None:
    path = store / SHARDS[1]
    place = Shard(path, read_json(store / "plan.json")["fingerprint"]).header.arrays[name]
    flip(path, place.offset + place.bytes // 2)


def flip_structure(store: Path) -> None:
    path = store / SHARDS[1]
    begin, end = Shard(path, read_json(store / "plan.json")["fingerprint"]).header.gaps()[0]
    flip(path, (begin + end) // 2)


def flip_header(store: Path) -> None:
    path = store / SHARDS[1]
    flip(path, path.read_bytes().index(b'"kind"') + 10)


def flip_padding(store: Path) -> None:
    path = store / SHARDS[1]
    flip(path, path.read_bytes().index(b"}\n  ") + 3)


def cut(share: float, store: Path) -> None:
    os.truncate(store / SHARDS[1], int((store / SHARDS[1]).stat().st_size * share))


def longer(store: Path) -> None:
    with (store / SHARDS[1]).open("ab") as file:
        file.write(b"\0" * 512)


def zeros(store: Path) -> None:
    """What a crash of the machine may leave of a file that was not flushed: its length, and nothing in it."""
    (store / SHARDS[1]).write_bytes(bytes((store / SHARDS[1]).stat().st_size))


def text_instead(store: Path) -> None:
    (store / SHARDS[1]).write_text("<html><body>Please log in</body></html>\n")


def swapped(first: int, store: Path) -> None:
    """The first shard has seven rows, the other two have eight and one size."""
    one, other = store / SHARDS[first], store / SHARDS[first + 1]
    one.rename(store / "aside")
    other.rename(one)
    (store / "aside").rename(other)


def renamed(name: str, store: Path) -> None:
    (store / SHARDS[1]).rename(store / name)


def doubled(name: str, store: Path) -> None:
    shutil.copy(store / SHARDS[1], store / name)


def overwritten(source: int, store: Path) -> None:
    shutil.copy(store / SHARDS[source], store / SHARDS[1])


def foreign(store: Path) -> None:
    """A shard of the other store."""
    (other,) = store.parent.glob("context-*")
    shutil.copy(other / SHARDS[1], store / SHARDS[1])


def removed(name: str, store: Path) -> None:
    (store / name).unlink()


def folder_instead(name: str, store: Path) -> None:
    (store / name).unlink()
    (store / name).mkdir()


SHARD_DAMAGE: dict[str, Damage] = {
    **{
        f"a flipped bit in {name} of a shard": partial(flip_array, name)
        for name in ("ids", "sha256", "rows", "offsets", "tokens", "token_ids", "word_ids")
    },
    "a flipped bit in the header of a shard": flip_header,
    "a flipped bit in the padding behind the header of a shard": flip_padding,
    "a flipped bit in the HDF5 structure of a shard": flip_structure,
    "an empty shard": partial(cut, 0),
    "a shard that ends within its header": partial(cut, 0.05),
    "a shard that ends half way": partial(cut, 0.5),
    "a shard with more behind it": longer,
    "a shard of zeros": zeros,
    "a login page instead of a shard": text_instead,
    "two shards that have changed places": partial(swapped, 0),
    "two shards of one size that have changed places": partial(swapped, 1),
    "a shard copied over another": partial(overwritten, 0),
    "a shard copied over another of its size": partial(overwritten, 2),
    "a shard copied to a free name": partial(doubled, "shard-00007.h5"),
    "a shard copied as a further piece": partial(doubled, "shard-00001-1.h5"),
    "a shard renamed to a further piece": partial(renamed, "shard-00001-1.h5"),
    "a shard renamed to another block": partial(renamed, "shard-00009.h5"),
    "a shard of another store": foreign,
    "a missing shard": partial(removed, SHARDS[1]),
    "a folder instead of a shard": partial(folder_instead, SHARDS[1]),
}


# Plan, manifest, quarantine ------------------------------------------------------------------------------------------


def rewrite(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change a sealed file as its writer would, checksum and all."""
    value = read_json(path)
    change(value)
    path.write_bytes(to_json(value))


def sets(name: str, key: str, value: object, store: Path) -> None:
    rewrite(store / name, lambda record: record.update({key: value}))


def lacks(name: str, key: str, store: Path) -> None:
    rewrite(store / name, lambda record: record.pop(key) and None)


def flip_record(name: str, store: Path) -> None:
    flip(store / name, (store / name).stat().st_size // 2)


def not_utf8(name: str, store: Path) -> None:
    path = store / name
    path.write_bytes(path.read_bytes().replace(b'"fingerprint"', b'"\xff\xfengerprint"'))


def cut_record(share: float, name: str, store: Path) -> None:
    os.truncate(store / name, int((store / name).stat().st_size * share))


def json_instead(text: str, name: str, store: Path) -> None:
    (store / name).write_text(text)


def gone(*names: str) -> Damage:
    def damage(store: Path) -> None:
        for name in names:
            (store / name).unlink()

    return damage


def manifest_behind(store: Path) -> None:
    """A manifest of before the last shard was made."""

    def change(record: dict[str, object]) -> None:
        shards = record["shards"]
        assert isinstance(shards, list)
        record["shards"], record["rows"], record["complete"] = shards[:-1], 15, False

    rewrite(store / "manifest.json", change)


def manifest_ahead(store: Path) -> None:
    """A manifest that came before the shards that it lists: an unfinished copy."""
    for name in SHARDS[1:]:
        (store / name).unlink()


def plan_behind(store: Path) -> None:
    """A plan of before the data set grew."""

    def change(record: dict[str, object]) -> None:
        ids, digests = record["ids"], record["sha256"]
        assert isinstance(ids, list)
        assert isinstance(digests, list)
        record["ids"], record["sha256"] = ids[:16], digests[:16]

    rewrite(store / "plan.json", change)


def two_plans(store: Path) -> None:
    """A second segment that plans the same rows again."""
    shutil.copy(store / "plan.json", store / "plan-00001.json")


def gap_in_plans(store: Path) -> None:
    shutil.copy(store / "plan.json", store / "plan-00002.json")


def plan_of_other(store: Path) -> None:
    (other,) = store.parent.glob("context-*")
    shutil.copy(other / "plan.json", store / "plan.json")


def manifest_of_other(store: Path) -> None:
    (other,) = store.parent.glob("context-*")
    shutil.copy(other / "manifest.json", store / "manifest.json")


QUARANTINED = "quarantine/row-00000004.json"


def quarantine_renamed(store: Path) -> None:
    (store / QUARANTINED).rename(store / "quarantine" / "row-00000006.json")


def quarantine_beyond(store: Path) -> None:
    value = {**read_json(store / QUARANTINED), "row": 99}
    (store / "quarantine" / "row-00000099.json").write_bytes(to_json(value))


def mixed_versions(store: Path) -> None:
    """A shard that a later format has written, among those of this one."""
    path = store / SHARDS[1]
    data = path.read_bytes()
    begin, end = data.index(b'"format": '), data.index(b",", data.index(b'"format": '))
    path.write_bytes(data[:begin] + b'"format": 9' + data[end:])


PARTS = ("plan.json", "manifest.json", QUARANTINED)
RECORD_DAMAGE: dict[str, Damage] = {
    **{f"{name} is missing": partial(removed, name) for name in PARTS},
    **{f"{name} with a flipped bit": partial(flip_record, name) for name in PARTS},
    **{f"{name} is empty": partial(cut_record, 0, name) for name in PARTS},
    **{f"{name} ends half way": partial(cut_record, 0.5, name) for name in PARTS},
    **{f"{name} is not UTF-8": partial(not_utf8, name) for name in PARTS},
    **{f"{name} is a list": partial(json_instead, "[1, 2]\n", name) for name in PARTS},
    **{f"{name} of an older format": partial(sets, name, "format", 0) for name in PARTS},
    **{f"{name} of a newer format": partial(sets, name, "format", 99) for name in PARTS},
    "plan.json lacks its ids": partial(lacks, "plan.json", "ids"),
    "plan.json with ids that are numbers": partial(sets, "plan.json", "ids", list(range(24))),
    "plan.json with shards of no rows": partial(sets, "plan.json", "shard_size", 0),
    "manifest.json lacks its shards": partial(lacks, "manifest.json", "shards"),
    "manifest.json lacks its provenance": partial(lacks, "manifest.json", "provenance"),
    "manifest.json with shards of other fields": partial(sets, "manifest.json", "shards", [{"file": 1}]),
    "a quarantine record lacks its id": partial(lacks, QUARANTINED, "id"),
    "a quarantine record of another row": quarantine_renamed,
    "a quarantine record of a row that is not planned": quarantine_beyond,
    "a manifest behind the shards": manifest_behind,
    "a manifest ahead of the shards": manifest_ahead,
    "a plan behind the shards": plan_behind,
    "two plans of the same rows": two_plans,
    "a plan with a gap": gap_in_plans,
    "the plan of another store": plan_of_other,
    "the manifest of another store": manifest_of_other,
    "neither plan nor manifest": gone("plan.json", "manifest.json"),
    "a shard of a later format": mixed_versions,
}


# Sync tools, links, folders ------------------------------------------------------------------------------------------


def rsync_half(store: Path) -> None:
    """rsync was stopped: its temporary file is there, and what comes after it in the alphabet is not."""
    data = (store / SHARDS[1]).read_bytes()
    (store / f".{SHARDS[1]}.Ab3dE9").write_bytes(data[: len(data) // 2])
    for name in SHARDS[1:]:
        (store / name).unlink()


def rsync_left(store: Path) -> None:
    """rsync was killed, and a later one has finished: only its temporary files are left."""
    for name in (SHARDS[1], "plan.json", "manifest.json"):
        shutil.copy(store / name, store / f".{name}.Ab3dE9")


def copied_as(form: str, store: Path) -> None:
    """A sync tool has kept a second copy of every kind of file."""
    for name in (SHARDS[1], "plan.json", "manifest.json", QUARANTINED):
        path = store / name
        shutil.copy(path, path.with_name(form.format(path.stem) + path.suffix))


def moved_as(form: str, store: Path) -> None:
    (store / SHARDS[1]).rename(store / (form.format("shard-00001") + ".h5"))


def folder_copied(store: Path) -> None:
    shutil.copytree(store, store.with_name(f"{store.name} (conflicted copy)"))


def folder_renamed(store: Path) -> None:
    store.rename(store.with_name(f"{store.name} (1)"))


def linked_file(store: Path) -> None:
    """A shard that lies elsewhere, as in a repository of git-annex."""
    (store / SHARDS[1]).rename(store.parent.parent / "object")
    (store / SHARDS[1]).symlink_to(store.parent.parent / "object")


def dangling(name: str, store: Path) -> None:
    (store / name).unlink()
    (store / name).symlink_to("nowhere")


def loop(name: str, store: Path) -> None:
    (store / name).unlink()
    (store / name).symlink_to(name)


def linked_folder(store: Path) -> None:
    store.rename(store.parent.parent.parent / "elsewhere")
    store.symlink_to("../../elsewhere")


def loop_folder(store: Path) -> None:
    (store / "loop").symlink_to(".")
    (store.parent / "tokens-loop").symlink_to(".")


def empty_folder(store: Path) -> None:
    shutil.rmtree(store)
    store.mkdir()


FORMS = {
    "Dropbox": "{} (someone's conflicted copy 2026-11-26)",
    "Syncthing": "{}.sync-conflict-20261126-101112-ABCDEF7",
    "OneDrive": "{}-LAPTOP",
    "a file manager": "{} (1)",
}
FOLDER_DAMAGE: dict[str, Damage] = {
    "half copied by rsync": rsync_half,
    "temporary files that rsync has left": rsync_left,
    **{f"second copies by {who}": partial(copied_as, form) for who, form in FORMS.items()},
    **{f"a shard renamed by {who}": partial(moved_as, form) for who, form in FORMS.items()},
    "a copy of the store's folder beside it": folder_copied,
    "the store's folder renamed": folder_renamed,
    "a shard that is a link": linked_file,
    "a shard that links to nothing": partial(dangling, SHARDS[1]),
    "a shard that links to itself": partial(loop, SHARDS[1]),
    "a plan that links to nothing": partial(dangling, "plan.json"),
    "a plan that links to itself": partial(loop, "plan.json"),
    "a manifest that links to itself": partial(loop, "manifest.json"),
    "a store that is a link": linked_folder,
    "links to the folder that they lie in": loop_folder,
    "a folder instead of the plan": partial(folder_instead, "plan.json"),
    "a folder instead of the manifest": partial(folder_instead, "manifest.json"),
    "an empty folder": empty_folder,
}


# Permissions ---------------------------------------------------------------------------------------------------------


def mode(bits: int, name: str, store: Path) -> None:
    (store / name).chmod(bits)


PERMISSIONS: dict[str, Damage] = {
    "a shard that may not be read": partial(mode, 0, SHARDS[1]),
    "a plan that may not be read": partial(mode, 0, "plan.json"),
    "a manifest that may not be read": partial(mode, 0, "manifest.json"),
    "a quarantine that may not be read": partial(mode, 0, "quarantine"),
    "a store that may not be opened": partial(mode, 0, "."),
    "a store that may be listed alone": partial(mode, 0o444, "."),
    "a data set that may not be opened": partial(mode, 0, ".."),
    "a store that may not be written to": partial(mode, 0o555, "."),
    "a data set that may not be written to": partial(mode, 0o555, ".."),
}
"""These are tried as a user whom permissions bind."""


# The data set's table ------------------------------------------------------------------------------------------------


def another_label(folder: Path) -> None:
    """A label that was edited by hand: the file reads well, and is not what was extracted."""
    path = folder / "samples.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    record = json.loads(lines[3])
    record["label"] = "negative" if record["label"] != "negative" else "neutral"
    lines[3] = json.dumps(record, ensure_ascii=False)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def flip_dataset(folder: Path) -> None:
    """In a key: what the middle is depends on the length of the root's path."""
    path = folder / "dataset.json"
    flip(path, path.read_bytes().index(b'"name"') + 1)


TABLE = ("dataset.json", "samples.jsonl", "quarantine.jsonl")
TABLE_DAMAGE: dict[str, Damage] = {
    **{f"{name} is missing": partial(removed, name) for name in TABLE},
    **{f"{name} is empty": partial(cut_record, 0, name) for name in TABLE[:2]},
    **{f"{name} ends half way": partial(cut_record, 0.5, name) for name in TABLE[:2]},
    "dataset.json with a flipped bit": flip_dataset,
    "samples.jsonl with a flipped bit": partial(flip_record, "samples.jsonl"),
    "samples.jsonl with another label": another_label,
    "samples.jsonl with lists": partial(json_instead, "[1]\n[2]\n", "samples.jsonl"),
    "samples.jsonl without an id": partial(json_instead, '{"label": "neutral"}\n', "samples.jsonl"),
    "quarantine.jsonl is not JSON": partial(json_instead, "no JSON\n", "quarantine.jsonl"),
    "dataset.json of an older format": partial(sets, "dataset.json", "format", 0),
    "dataset.json lacks its digests": partial(lacks, "dataset.json", "sha256"),
    "dataset.json lacks its source": partial(lacks, "dataset.json", "source"),
    "samples.jsonl links to itself": partial(loop, "samples.jsonl"),
    "a folder instead of samples.jsonl": partial(folder_instead, "samples.jsonl"),
}
