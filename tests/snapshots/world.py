"""The small world that commands are shown in: a drawn data set, its stores, a run and a sweep, at relative paths."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from huggingface_hub import constants

from itin.cli import main

from ..conftest import draw
from ..keeper import Pair, replaced, section, told
from ..zoo.sound import ENCODERS

QUARTERS = '''
class Quarters:
    """Regions: the quarters of an image by their mean colours, the brightest first."""

    def __init__(self, config, device, *, batch_size=None):
        self.batch_size = 8
        self.most = min(4, config.max_regions)
        self.spec = EncoderSpec("regions", "quarters", {}, {"step": 1}, {"feature": 3, "max_regions": self.most})

    def prepare(self, image):
        h, w = image.shape[0] // 2, image.shape[1] // 2
        corners = [(0, 0), (0, w), (h, 0), (h, w)]
        colours = np.array([image[y : y + h, x : x + w].reshape(-1, 3).mean(0) / 256 for y, x in corners], np.float32)
        boxes = np.array([(x, y, x + w, y + h) for y, x in corners], np.float32)
        order = np.argsort(-colours.mean(1), kind="stable")[: self.most]
        return {"regions": colours[order], "boxes": boxes[order], "scores": colours.mean(1)[order]}

    def encode(self, prepared):
        return prepared
'''

NAMED = ("--regions", "own:Quarters", "--text-encoder", "own:Letters", "--context-encoder", "own:Colour")
EXTRACT = ("extract", "--dataset", "mvsa-single", "--root", "MVSA", *NAMED)
SMALL = ("--d", 4, "--k", 4, "--hidden", 4, "--epochs", 1, "--batch-size", 8, "--device", "cpu")

PAIRS = 24
EXPECTED = Path(__file__).with_name("expected")

Step = Sequence[object]


def zeros(found: re.Match[str]) -> str:
    """A number of as many digits; at most four behind the point."""
    return "0." + "0" * min(len(found[0].partition(".")[2]), 4)


PLAIN: tuple[Pair, ...] = (
    (r"^\w+ \d+/\d+(, \w+ \d+/\d+)*\n", ""),  # progress, where half a minute has passed
    (r"\b[0-9a-f]{64}\b", "0123456789abcdef..."),
    (r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])", "0123456789ab"),
    (r"\bshop-[0-9a-f]{8}\b", "shop-01234567"),
    (r"cannot be read: (Unable to|File is not) .*?(?=\))", "cannot be read: ..."),
    (r"(cannot be loaded: )HFValidationError:", r"\1OSError:"),  # that is what an older hub's library calls it
    (r"(cannot be loaded: \w+): .*", r"\1: ..."),
    (r"no sound Parquet file: .*", "no sound Parquet file: ..."),
    (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?", "2030-01-01T00:00:00Z"),
    (r"\b20\d{6}-\d{6}(-[0-9a-f]{4}\b)?", "20300101-000000"),
    (r"\b\d+(\.\d+)? s\b", "0.0 s"),
    (r"\b\d+(\.\d+)? [kM]B\b", "0.0 kB"),
    (r"\d+ bytes not processed", "0 bytes not processed"),
    (r" runs in \d+:\d\d(, .* a minute)?", " runs in 0:00"),
    (r"(itin, version) \d+\.\d+[\w.+]*", r"\1 0.0.0"),
    (r"\b(itin|torch|python|numpy|h5py|pillow|torchvision|transformers) \d+\.\d+[\w.+]*", r"\1 0.0.0"),
    (r"\d+\.\d{3,}(e-\d+)?", zeros),
    (r"(?<=, to )\de-\d\d\b", "1e-08"),
    (r'("(torch|python|itin)": )"[^"]*"', r'\1"0.0.0"'),
    (r'^(  (torch|python|itin) +)"[^"]*"$', r'\1"0.0.0"'),
    (r"\S*/site-packages/", "SITE-PACKAGES/"),
    (r"(?<=  )\S+ \d\.\d\d(  \S+ \d\.\d\d)*$", "word 0.00 ..."),
    (r"\b127\.0\.0\.1-\d{3,5}-[0-9a-f]{8}\b", "127.0.0.1-0-01234567"),
    (r"http://127\.0\.0\.1:\d{3,5}\b", "SERVER"),
    (r"(Connect call failed|scheduler at \S+ cannot be reached:) .*", r"\1 ..."),
    (r" +$", ""),
)
"""What differs from place to place, from time to time, or in the last digits; lines keep their layout."""


def plain(text: str) -> str:
    """A command's text as it would be in any place, at any time."""
    for place, word in ((str(Path.cwd()), "HERE"), (constants.HF_HUB_CACHE, "HUB")):
        text = text.replace(place, word)
    text = replaced(text, PLAIN)
    lines, end = text.split("\n"), None
    for number, line in enumerate(lines):  # figures of `itin runs` have as many digits as they need
        end = line.index("best_epoch") if "  best_epoch  " in line else None if "  " not in line else end
        lines[number] = line if end is None or "  best_epoch  " in line else line[:end].rstrip() + "  ..."
    return "\n".join(lines)


def plain_json(text: str) -> str:
    """The same of JSON: its keys, and the values that are everywhere the same; of long lists the beginning."""
    return plain(json.dumps(_shortened(json.loads(text)), indent=1)) if text[:1] in ("{", "[") else plain(text)


def plain_doctor(text: str) -> str:
    """What `itin doctor` says of any machine: the checks, in their order."""
    if text.startswith("{"):
        for key in ("worst", "state", "found", "next_step"):
            text = re.sub(rf'"{key}": .*?(,?)$', rf'"{key}": "..."\1', text, flags=re.M)
        return plain_json(text)
    checks = re.findall(r"^(?:good|doubtful|bad) +(\S+) ", text, flags=re.M)
    closing = re.sub(r"\d+", "N", text.splitlines()[-1]) if text else ""
    return "\n".join([*(f"STATE     {check:10}  ..." for check in dict.fromkeys(checks)), closing])


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: 0.0 if key.startswith(SCORES) else _shortened(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shortened(one) for one in value[:2]] + ["..."] * (len(value) > 2)
    return value


SCORES = ("val_", "test_", "best_epoch", "seconds", "bytes")
"""The beginnings of keys in JSON whose values are those of one machine."""


def written_out(words: Step) -> list[str]:
    """The words of a command as a shell would hand them over: with `*` the one path that fits."""
    found = []
    for word in map(str, words):
        paths = sorted(map(str, Path().glob(word))) if "*" in word else [word]
        assert len(paths) == 1, (word, paths)
        found += paths
    return found


def _plain_of(words: Sequence[object]) -> Callable[[str], str]:
    if "doctor" in words:
        return plain_doctor
    return plain_json if "--json" in words else plain


def tell(*words: object) -> str:
    """What a command says in the world, in this process."""
    return told(written_out(words), _plain_of(words))


def tell_really(*words: object) -> str:
    """What the real program says, a process of its own."""
    done = subprocess.run([sys.executable, "-m", "itin", *written_out(words)], capture_output=True, text=True)
    return section(done.returncode, done.stdout, done.stderr, _plain_of(words))


def shown(words: Step) -> str:
    """A command as one would type it."""
    return shlex.join(["itin", *map(str, words)])


def prepare(here: Path) -> None:
    """Draw the pairs, and write the encoders, in a folder that is the current one."""
    draw(here / "MVSA", PAIRS)
    image = here / "MVSA" / "data" / "7.jpg"
    image.write_bytes(image.read_bytes()[:-40])
    (here / "own.py").write_text(ENCODERS + QUARTERS)
    for words in (
        EXTRACT,
        ("train", *SMALL, "--out", "runs/one"),
        ("sweep", *SMALL[:-2], "--m", "1,2", "--device", "cpu", "--stack", 2, "--out", "runs/sweep"),
    ):
        said = tell(*words)
        assert said.startswith("exit code 0"), said


def commands() -> dict[str, click.Command]:
    """Every command and subcommand by its name, `itin cache info`; those that are hidden, too."""

    def below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command, info_name=name)
            for one in command.list_commands(context):
                found = command.get_command(context, one)
                assert found is not None
                yield from below(f"{name} {one}", found)

    return dict(below("itin", main))
