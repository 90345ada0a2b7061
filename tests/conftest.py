"""What tests ask for: the real data beside the repository, small data drawn on the spot, a single thread."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from .loopback_hub import LoopbackHub

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in cli.py; before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for child processes too: tests run beside one another
os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's library is imported: tests never ask the network

LABELS = ("positive", "neutral", "negative")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("needs the real data in ../shared/data")
    return path


def draw(root: Path, pairs: int, annotators: int = 1) -> Path:
    """Draw a data set in MVSA's layout: ids 1, 2, ...; labels in turn positive, neutral, negative."""
    (root / "data").mkdir(parents=True)
    lines = ["\t".join(["ID"] + ["text,image"] * annotators)]
    for id in range(1, pairs + 1):
        label = LABELS[(id - 1) % 3]
        image = Image.new("RGB", (40 + id % 7, 30 + id % 5), (id * 37 % 256, id * 91 % 256, id * 53 % 256))
        ImageDraw.Draw(image).rectangle((id % 20, 5, id % 20 + 10, 20), fill=(255, 255 - id % 256, 0))
        image.save(root / "data" / f"{id}.jpg")
        (root / "data" / f"{id}.txt").write_bytes(f"RT @a: a {label} day, number {id} …\n".encode("gb18030"))
        lines.append("\t".join([str(id)] + [f"{label},{label}"] * annotators))
    (root / "labelResultAll.txt").write_bytes(("\r\n".join(lines) + "\r\n").encode())
    return root


@pytest.fixture
def draw_mvsa() -> Callable[..., Path]:
    """The function `draw_mvsa(root, pairs, annotators=1)`, which returns the root."""
    return draw


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Work this small is quickest, and least disturbed by neighbours, on one thread."""
    import torch  # here, for many tests need none of it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def quick_workers() -> Iterator[None]:
    """Child processes are forked from one that has imported torch, where each would import it for seconds.

    That they start as they do for users is shown where a test runs `itin` as a process of its own.
    """
    real = multiprocessing.get_context
    multiprocessing.set_forkserver_preload(["itin.train.sweeps.workers", "itin.train.loop", "itin.extract.run"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multiprocessing, "get_context", lambda how=None: real("forkserver" if how == "spawn" else how))
        yield


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A model hub on loopback that the hub's client asks in this process, with an empty cache in `tmp_path / "hub"`.

    `hub.add("org/name", folder)` serves a folder that `save_pretrained` made. For a process of its own:
    `env={**os.environ, **hub.environment(home)}`.
    """
    from huggingface_hub import constants, file_download  # here, for many tests need none of it
    from transformers.utils import hub as transformers_hub

    served = LoopbackHub()
    for name, value in served.environment(tmp_path / "hub").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    cache = str(tmp_path / "hub" / "hub")
    values = {
        "ENDPOINT": served.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": served.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": cache,
        "HUGGINGFACE_HUB_CACHE": cache,
        "TRANSFORMERS_CACHE": cache,
        "HF_HUB_OFFLINE": False,
        "HF_TOKEN_PATH": str(tmp_path / "hub" / "token"),
    }
    for name, value in values.items():  # the client read the variables when it was imported
        for module in (constants, file_download, transformers_hub):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(transformers_hub, "_hf_api", None, raising=False)  # kept with the endpoint of its first use
    yield served
    served.close()
