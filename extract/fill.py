"""The loop: decode, encode, commit, until the lanes lack nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from threading import Event
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import TransientError
from ..parts import run_ahead
from .data.images import image_bytes, image_input, read_image
from .data.places.remote import is_remote, spelt
from .data.reading import BadFile
from .data.samples import Sample
from .data.survey import has_changed
from .encoders.contract import ImageEncoder
from .lanes import Lane, pending_samples

CHANGED = "has changed since it was scanned"
"""The end of the reason of an image that only another scan makes readable; a part takes the last scan as it is."""


def fill(lanes: list[Lane], samples: Sequence[Sample], workers: int, stop: Event, *, shuffled: bool) -> None:
    """Encode and commit what the lanes lack, block by block; see `pending_samples` for `shuffled`."""
    with ExitStack() as closing:
        for lane in lanes:
            closing.callback(lane.close)
            lane.inputs_of = partial(_inputs, lane, samples)
        _encode_texts([lane for lane in lanes if lane.kind == "tokens"], samples, stop, shuffled)
        _encode_images([lane for lane in lanes if lane.kind != "tokens"], samples, workers, stop, shuffled)


def _inputs(lane: Lane, samples: Sequence[Sample], positions: Iterable[int]) -> Iterator[Any]:
    """Yield what a lane's encoder is given of samples, of those that can be read."""
    for sample in map(samples.__getitem__, positions):
        with suppress(BadFile, TransientError):
            image = lane.kind != "tokens"
            yield cast(ImageEncoder, lane.encoder).prepare(image_as_scanned(sample)) if image else sample.text


def _encode_texts(lanes: list[Lane], samples: Sequence[Sample], stop: Event, shuffled: bool) -> None:
    for position, wanting in pending_samples(lanes, shuffled, stop.is_set):
        for lane in wanting:
            lane.add(position, samples[position].text)
        if stop.is_set():
            break
    _finish_lanes(lanes, stop)


def _encode_images(lanes: list[Lane], samples: Sequence[Sample], workers: int, stop: Event, shuffled: bool) -> None:
    """Decode each image once for all the lanes that want it, ahead of the device."""

    def prepare(item: tuple[int, tuple[Lane, ...]]) -> list[Any]:
        image = image_as_scanned(samples[item[0]])
        inputs: dict[int, Any] = {}  # of each trunk: encoders of one model share the input, and so its forward pass
        for encoder in (cast(ImageEncoder, lane.encoder) for lane in item[1]):
            key = id(getattr(encoder, "trunk", encoder))
            inputs[key] = inputs[key] if key in inputs else encoder.prepare(image)
        return [inputs[id(getattr(lane.encoder, "trunk", lane.encoder))] for lane in item[1]]

    ahead = 2 * workers + 2 * max((lane.encoder.batch_size for lane in lanes), default=0)
    order = pending_samples(lanes, shuffled, stop.is_set)
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        for (position, wanting), future in run_ahead(pool, prepare, order, ahead):
            if stop.is_set():
                break
            try:
                prepared = future.result()
            except BadFile as error:
                for lane in wanting:
                    lane.reject(position, error.reason)
            except TransientError as error:
                for lane in wanting:
                    lane.skip(position, error.what)
            else:
                for lane, one in zip(wanting, prepared, strict=True):
                    lane.add(position, one)
    _finish_lanes(lanes, stop)


def _finish_lanes(lanes: list[Lane], stop: Event) -> None:
    """Encode the last batch; after a stop, only commit what is encoded."""
    for lane in lanes:
        if stop.is_set():
            lane.commit_partial()
        else:
            lane.flush()


def image_as_scanned(sample: Sample) -> NDArray[np.uint8]:
    """Return the decoded image that a scan saw, (H, W, 3) RGB.

    Raises:
        BadFile: it is missing, or cannot be decoded.
        TransientError: it is another image by now, or could not be read this time.
    """
    changed = TransientError(f"{spelt(sample.image)} {CHANGED}")
    if not is_remote(sample.image):
        if has_changed(sample):
            raise changed
        return read_image(sample.place)
    data = image_bytes(sample.locator)  # the digest tells more than the file's state, and takes no request
    if image_input(data).sha256 != sample.image_sha256:
        raise changed
    return read_image(data)
