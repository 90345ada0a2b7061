"""The detector as a function of prepared images: batches of similar sizes, chunks of regions, arrays out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ...device import matmul_precision, wait_for
from .network import FasterRCNN
from .pooling import MaxPooler, make_pooler, spread
from .preprocess import PreparedImage
from .proposals import propose
from .selection import Predictions, RegionSelection, SelectedRegions, select

log = logging.getLogger(__name__)

T = TypeVar("T")


class Detector:
    """The detector with a folded network; results depend on what shares a batch by rounding only.

    Args:
        network: the layers; their norms are folded here.
        selection: the rule by which regions are kept.
        device: the device of the layers.
        compute_dtype: dtype of the convolutions. Scores, boxes, pooled means and the heads are float32 in any case.
        batch_size: images that pass through the backbone together; halved where memory runs out.
        chunk: regions that pass through res5 together; by default a number that is fast on the device.
        waste: greatest share of padding among a batch's pixels; by default 0.2, and 0 on a CPU, where batching gains
            nothing, so that only images of equal size share a batch.
    """

    def __init__(
        self,
        network: FasterRCNN,
        selection: RegionSelection,
        *,
        device: torch.device,
        compute_dtype: torch.dtype = torch.float32,
        batch_size: int = 8,
        chunk: int | None = None,
        waste: float | None = None,
    ) -> None:
        if batch_size < 1 or (chunk is not None and chunk < 1):
            raise ValueError(f"batch_size and chunk must be at least 1, got {batch_size} and {chunk}")
        on_cpu = device.type == "cpu"
        self.network = network.fold().to(device)
        for module in (network.backbone, network.proposal_generator.rpn_head, network.roi_heads.res5):
            module.to(compute_dtype).to(memory_format=torch.channels_last)
        self.recipe, self.selection = network.recipe, selection
        self.device, self.compute_dtype, self.batch_size = device, compute_dtype, batch_size
        self.chunk = chunk or (24 if on_cpu else 1200)
        self.waste = (0.0 if on_cpu else 0.2) if waste is None else waste
        # A batch's first stage, and the choice of its regions, do not wait for the second stage of another one.
        self._ahead, self._beside = (
            torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        wait_for(device)  # the layers are there before another stream reads them

    def __call__(self, images: Sequence[PreparedImage]) -> list[dict[str, np.ndarray]]:
        """Return a dict of arrays for each image, in order: see `itin.extract.encoders.contract.ImageEncoder`.

        The regions of a batch are chosen, which is many small steps, in a thread beside the layers of the next one.
        """
        results: list[dict[str, np.ndarray]] = [{} for _ in images]
        queue = list(self.groups([image.size for image in images]))
        late: tuple[list[int], Future[list[dict[str, np.ndarray]]]] | None = None

        def smaller_if_full(numbers: list[int], work: Callable[[], T]) -> T | None:
            """Return the result, or None after putting the images back as two batches where memory runs out."""
            try:
                return work()
            except torch.cuda.OutOfMemoryError:
                if len(numbers) == 1 and self.chunk <= 16:
                    raise
            self._shrink(len(numbers))  # outside of the handler, which keeps the batch's memory allocated
            middle = (len(numbers) + 1) // 2
            queue[:0] = [part for part in (numbers[:middle], numbers[middle:]) if part]
            return None

        with matmul_precision(), ThreadPoolExecutor(1, thread_name_prefix="select") as thread:
            while queue or late is not None:
                begun = None
                if queue:
                    numbers = queue.pop(0)
                    batch = [images[i] for i in numbers]
                    begun = smaller_if_full(numbers, lambda batch=batch: self._begin(batch))  # type: ignore[misc]
                if late is not None:
                    for i, arrays in zip(late[0], smaller_if_full(late[0], late[1].result) or (), strict=False):
                        results[i] = arrays
                late = None if begun is None else (numbers, thread.submit(self._finish, *begun))
        return results

    def _shrink(self, used: int) -> None:
        torch.cuda.empty_cache()
        self.batch_size = max(used // 2, 1)
        self.chunk = max(self.chunk // 2, 16)
        log.warning(
            "the device's memory ran out: continuing with %d images a batch and %d regions a chunk",
            self.batch_size,
            self.chunk,
        )

    def groups(self, sizes: Sequence[tuple[int, int]]) -> Iterator[list[int]]:
        """Yield the image numbers of each batch: images of similar size, so that little of it is padding."""
        order = sorted(range(len(sizes)), key=lambda i: (sizes[i][0] < sizes[i][1], sizes[i]))
        group: list[int] = []
        for i in order:
            joint = [sizes[j] for j in (*group, i)]
            area = max(h for h, _ in joint) * max(w for _, w in joint) * len(joint)
            padding = 1 - sum(h * w for h, w in joint) / area
            if group and (len(group) == self.batch_size or padding > self.waste):
                yield group
                group = []
            group.append(i)
        if group:
            yield group

    @torch.inference_mode()
    def _begin(self, images: Sequence[PreparedImage]) -> tuple[Tensor, Predictions, torch.cuda.Event | None]:
        """Return what `predict` does, and the event after which it is there."""
        features, predictions = self.predict(images)
        return features, predictions, torch.cuda.current_stream(self.device).record_event() if self._beside else None

    @torch.inference_mode()
    def _finish(
        self, features: Tensor, predictions: Predictions, made: torch.cuda.Event | None
    ) -> list[dict[str, np.ndarray]]:
        """Choose regions, and return the arrays of each image."""
        with torch.cuda.stream(self._beside):  # does nothing without one
            if self._beside is not None and made is not None:
                self._beside.wait_event(made)
            chosen = select(predictions, self.recipe, self.selection)
            return _arrays(chosen, features[chosen.rows])

    def pad(self, images: Sequence[PreparedImage]) -> Tensor:
        """Return the images as one batch on the device, (B, 3, H, W), zero right of and below each image."""
        height = max(image.size[0] for image in images)
        width = max(image.size[1] for image in images)
        batch = torch.zeros(len(images), 3, height, width, dtype=torch.float32, device=self.device)
        for own, image in zip(batch, images, strict=True):
            own[:, : image.size[0], : image.size[1]] = image.pixels.to(self.device)
        return batch.to(dtype=self.compute_dtype, memory_format=torch.channels_last)

    def predict(self, images: Sequence[PreparedImage]) -> tuple[Tensor, Predictions]:
        """Return the features (R, D) and predictions of all proposals of a batch."""
        network, recipe = self.network, self.recipe
        sizes = [image.size for image in images]
        scales = [image.scale for image in images]
        with torch.cuda.stream(self._ahead):  # does nothing without one
            maps, extents = network.backbone(self.pad(images), sizes)
            logits, deltas = network.proposal_generator.rpn_head(maps)
            proposals = propose(logits, deltas, network.anchors, recipe, extents, sizes, scales)
        if self._ahead is not None:
            here = torch.cuda.current_stream(self.device)
            here.wait_stream(self._ahead)
            for made in (maps, *proposals):
                made.record_stream(here)
        counts = [len(own) for own in proposals]
        boxes = torch.cat(proposals)
        numbers = torch.arange(len(images), device=self.device)
        owner = numbers.repeat_interleave(torch.tensor(counts, device=self.device), output_size=len(boxes))
        features = self._features(maps, extents, boxes, owner)
        classes, moves, attributes = network.roi_heads.box_predictor(features)

        def table(values: list[tuple[float, float]] | list[tuple[int, int]]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=self.device)

        return features, Predictions(
            logits=classes,
            deltas=moves,
            attributes=attributes,
            proposals=boxes,
            images=owner,
            counts=counts,
            sizes=table(sizes),
            originals=table([image.original for image in images]),
            to_original=table([image.to_original for image in images]),
        )

    def _features(self, maps: Tensor, extents: Sequence[tuple[int, int]], boxes: Tensor, owner: Tensor) -> Tensor:
        """Pool, apply res5 and take the mean, a chunk of regions at a time: (R, D) float32."""
        pooler = make_pooler(self.recipe, maps, extents)
        res5 = self.network.roi_heads.res5
        features = boxes.new_empty(len(boxes), self.network.architecture.feature_dim)
        # Bins are compared within a group of regions: a larger one shares more of them and takes more memory.
        size = max(self.chunk, 320)
        parts = (torch.split(one, size) for one in (boxes, owner, features))
        groups = [group for group in zip(*parts, strict=True) if len(group[0])]
        # How many there are is known on the device alone: all are asked for before the layers keep it busy.
        bins = [pooler.bins(own, images) for own, images, _ in groups if isinstance(pooler, MaxPooler)]
        for number, (own, images, out) in enumerate(groups):
            if isinstance(pooler, MaxPooler):
                distinct, index = bins[number]
                index = index[:, :: self.recipe.res5_stride, :: self.recipe.res5_stride]
                first, shortcut = res5.start(pooler.values(distinct))
            for start in range(0, len(own), self.chunk):
                part = slice(start, start + self.chunk)
                if isinstance(pooler, MaxPooler):
                    top = res5.finish(spread(first, index[part]), spread(shortcut, index[part]))
                else:
                    top = res5(pooler(own[part], images[part]))
                out[part] = top.mean((2, 3), dtype=torch.float32)
        return features


def _arrays(chosen: SelectedRegions, features: Tensor) -> list[dict[str, np.ndarray]]:
    """Return the arrays of each image, on the host."""
    columns = {
        "regions": features,
        "boxes": chosen.boxes,
        "scores": chosen.scores,
        "objects": chosen.objects.to(torch.int32),
        "object_scores": chosen.object_scores,
        "attributes": chosen.attributes.to(torch.int32),
        "attribute_scores": chosen.attribute_scores,
    }
    host = {name: values.cpu().numpy() for name, values in columns.items()}
    ends = np.cumsum(chosen.counts)
    return [
        {name: values[end - count : end].copy() for name, values in host.items()}
        for count, end in zip(chosen.counts, ends.tolist(), strict=True)
    ]
