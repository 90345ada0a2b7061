"""How fast the detector is: a plain form written as the public ports are, and ours, in one interleaved run.

    python tests/bench/detector.py --images FOLDER [--device cuda] [--compute-dtype bfloat16] [--number 8] [--decode]

Both forms hold the same seeded random weights and see the same images, in turn; the table gives the median seconds an
image, images a second, the share of the device's matrix-multiply peak (measured between the rounds, in the dtype that
the form computes in), and the plain form's time over ours. Before the timing the two are held equal. With `--decode`
both begin with the files: the plain form one after the other, ours in threads ahead of the device.

Before that the rates of the other encoders, with random weights: ResNet18 by batch, and BERT-Base by batch, in the
order of the texts and in buckets of like length. The texts are the `.txt` files beside the images, or made up.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import nms, roi_align, roi_pool

from itin.extract.config import EncoderConfig
from itin.extract.data.images import read_image
from itin.extract.encoders.context import ResNetContext
from itin.extract.encoders.tokens import BERT_BASE, BertTokens
from itin.extract.encoders.wordpiece import train_wordpiece
from itin.extract.frcnn.detector import Detector
from itin.extract.frcnn.initial import randomize
from itin.extract.frcnn.network import Bottleneck, ConvNorm, FasterRCNN
from itin.extract.frcnn.preprocess import PreparedImage, prepare
from itin.extract.frcnn.proposals import propose
from itin.extract.frcnn.recipe import ARCHITECTURES, RECIPES, Recipe
from itin.extract.frcnn.selection import RegionSelection
from itin.extract.lanes import TEXT_BATCHES
from itin.parts import default_workers

Arrays = dict[str, np.ndarray]


class Plain:
    """One image at a time in float32: layers as PyTorch lays them out by default, all regions through res5 at once,
    one suppression a class in a Python loop."""

    def __init__(self, network: FasterRCNN, device: torch.device, most: int) -> None:
        self.network, self.device, self.most = network.to(device), device, most

    def __call__(self, images: Sequence[PreparedImage]) -> list[Arrays]:
        return [self.one(image) for image in images]

    @torch.inference_mode()
    def one(self, image: PreparedImage) -> Arrays:
        network, recipe = self.network, self.network.recipe
        x = F.relu_(self.conv(network.backbone.stem.conv1, image.pixels[None].to(self.device)))
        x = F.max_pool2d(x, 3, 2, 0, ceil_mode=True) if recipe.stem_pool == "ceil" else F.max_pool2d(x, 3, 2, 1)
        for stage in (network.backbone.res2, network.backbone.res3, network.backbone.res4):
            x = self.stage(stage, x)
        logits, deltas = network.proposal_generator.rpn_head(x)
        extents = [(x.shape[2], x.shape[3])]
        boxes = propose(logits, deltas, network.anchors, recipe, extents, [image.size], [image.scale])[0]
        pooled = (
            roi_pool(x, [boxes], recipe.pooled, 1 / 16)
            if recipe.pooler == "roi-pool"
            else roi_align(x, [boxes], recipe.pooled, 1 / 16, 2, True)
        )
        features = self.stage(network.roi_heads.res5, pooled).mean((2, 3))
        classes, moves, _ = network.roi_heads.box_predictor(features)
        first = recipe.background == "first"
        scores = classes.softmax(1)
        scores = scores[:, 1:] if first else scores[:, :-1]
        best = torch.zeros(len(boxes), device=self.device)
        regressed = self.regress(moves, boxes)[:, first:] if recipe.output_boxes == "regressed" else None
        limit = boxes.new_tensor([image.size[1], image.size[0]] * 2)
        for label in range(scores.shape[1]):
            own = boxes if regressed is None else torch.minimum(regressed[:, label].clamp(min=0), limit)
            if recipe.plus_one:
                own = own * image.to_original[0] + own.new_tensor([0, 0, 1, 1])
            keep = nms(own, scores[:, label], 0.3)
            best[keep] = torch.maximum(scores[keep, label], best[keep])
        order = best.argsort(descending=True, stable=True)
        rows = order[: min(max(int((best >= 0.2).sum()), 10), self.most)]
        return {"regions": features[rows].cpu().numpy(), "scores": best[rows].cpu().numpy()}

    def regress(self, moves: Tensor, boxes: Tensor) -> Tensor:
        """(R, K, 4) boxes of all classes."""
        w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        x, y = boxes[:, 0] + 0.5 * w, boxes[:, 1] + 0.5 * h
        moves = moves.view(len(boxes), -1, 4) / moves.new_tensor(self.network.recipe.box_weights)
        x, y = moves[..., 0] * w[:, None] + x[:, None], moves[..., 1] * h[:, None] + y[:, None]
        w, h = moves[..., 2].clamp(max=4.135).exp() * w[:, None], moves[..., 3].clamp(max=4.135).exp() * h[:, None]
        return torch.stack([x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h], -1)

    def conv(self, layer: ConvNorm, x: Tensor) -> Tensor:
        y = F.conv2d(x, layer.weight, None, layer.stride, layer.padding, layer.dilation)
        norm = layer.norm
        if norm is None:
            raise ValueError("the plain form needs a network whose norms are not folded")
        return F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)

    def stage(self, blocks: nn.Sequential, x: Tensor) -> Tensor:
        for block in blocks:
            if not isinstance(block, Bottleneck):
                raise TypeError(type(block))
            y = F.relu_(self.conv(block.conv1, x))
            y = F.relu_(self.conv(block.conv2, y))
            y = self.conv(block.conv3, y)
            x = F.relu_(y + (x if block.shortcut is None else self.conv(block.shortcut, x)))
        return x


def seconds(work: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    """One run's time."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def peak(device: torch.device, dtype: torch.dtype, clock: Callable[[], float]) -> float:
    """FLOP a second of a large matrix multiplication, the best of five."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = [seconds(lambda: a @ b, device, clock) for _ in range(6)]
    return 2 * side**3 / min(times[1:])


def agreement(exact: Sequence[Arrays], lower: Sequence[Arrays]) -> str:
    """Overlap of the best regions and cosine of matched features, float32 against a lower precision."""
    parts = []
    for top in (2, 10, 36):
        shares, cosines = [], []
        for one, two in zip(exact, lower, strict=True):
            first, second = one["boxes"][:top], two["boxes"][:top]
            if not len(first) or not len(second):
                continue
            low = np.maximum(first[:, None, :2], second[None, :, :2])
            high = np.minimum(first[:, None, 2:], second[None, :, 2:])
            inter = np.prod(np.clip(high - low, 0, None), -1)
            areas = [np.prod(boxes[:, 2:] - boxes[:, :2], -1) for boxes in (first, second)]
            iou = inter / np.maximum(areas[0][:, None] + areas[1][None] - inter, 1e-9)
            match = iou.argmax(1)
            found = iou[np.arange(len(first)), match] > 0.9
            shares.append(found.mean())
            a, b = one["regions"][:top][found], two["regions"][match[found]]
            cosines += ((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).tolist()
        parts.append(f"top {top}: {np.mean(shares):.3f} found, cosine {np.mean(cosines or [np.nan]):.5f}")
    return "; ".join(parts)


def decoded(files: Sequence[Path], recipe: Recipe, workers: int, batch: int, form: Callable[..., object]) -> None:
    """From files to regions: decoded and resized in threads, two batches ahead of the device."""

    def load(file: Path) -> PreparedImage:
        return prepare(read_image(file), recipe)

    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(load, file) for file in files[: 3 * batch]]
        rest = list(files[3 * batch :])
        while waiting:
            now, waiting = waiting[:batch], waiting[batch:]
            images = [future.result() for future in now]
            waiting += [pool.submit(load, file) for file in rest[:batch]]
            del rest[:batch]
            form(images)


def texts_of(folder: Path, number: int) -> list[str]:
    """The texts beside the images, or made-up ones of 5 to 40 words."""
    found = [file.read_bytes().decode("gb18030", "replace").strip() for file in sorted(folder.glob("*.txt"))[:number]]
    drawn = np.random.default_rng(0)
    words = [f"w{i}" for i in range(300)]
    return found or [" ".join(drawn.choice(words, drawn.integers(5, 41))) for _ in range(number)]


def others(options: argparse.Namespace, raw: Sequence[np.ndarray], clock: Callable[[], float]) -> None:
    """Prints the rates of ResNet18 and BERT-Base with random weights."""
    device, dtype = options.device, options.compute_dtype

    def rate(work: Callable[..., object], parts: Sequence[Any]) -> str:
        """`work` on one part after the other."""
        times = [seconds(lambda: [work(part) for part in parts], device, clock) for _ in range(options.rounds + 1)]
        count = sum(len(part) if isinstance(part, list) else 1 for part in parts)
        return f"{count / statistics.median(times[1:]):8.1f} a second"

    context = ResNetContext(EncoderConfig(context_encoder="resnet18", random_init=0, compute_dtype=dtype), device)
    inputs = [context.prepare(image) for image in raw] * (-(-64 // len(raw)))
    batch = context.batch_size
    print(f"ResNet18 context, batch  1: {rate(context.encode, [[one] for one in inputs[:8]])}")
    print(f"ResNet18 context, batch {batch}: {rate(context.encode, [inputs[:batch], inputs[batch : 2 * batch]])}")
    print(f"images resized for it: {rate(context.prepare, raw)}, in one thread")

    texts = texts_of(options.images, 32 * TEXT_BATCHES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tokenizer.json"
        file.write_bytes(train_wordpiece(texts))
        bert = BertTokens(
            EncoderConfig(text_encoder=BERT_BASE, random_init=0, compute_dtype=dtype), device, tokenizer_file=file
        )
    few, batch = texts[:128], bert.batch_size
    in_order = [few[start : start + batch] for start in range(0, len(few), batch)]
    print(f"BERT-Base tokens, batch  1: {rate(bert.encode, [[text] for text in few[:16]])}")
    print(f"BERT-Base tokens, batch {batch}, as they come: {rate(bert.encode, in_order)}")
    print(f"BERT-Base tokens, batch {batch}, by length among {len(few)}: {rate(bert.encode, [few])}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of JPEG files")
    parser.add_argument("--number", type=int, default=4, help="images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipe", choices=list(RECIPES), default="caffe")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--compute-dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--max-regions", type=int, default=36)
    parser.add_argument("--decode", action="store_true", help="begin with the files, decoding included")
    parser.add_argument("--workers", type=int, help="threads that decode; by default one a core, at most 16")
    parser.add_argument("--only", choices=["detector", "others"], help="measure one half alone")
    parser.add_argument("--threads", type=int, help="threads of the CPU")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count processor time instead of wall time (with --threads 1, on a machine that others use too)",
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu_time else time.perf_counter
    device, recipe = options.device, RECIPES[options.recipe]
    dtype = getattr(torch, options.compute_dtype)
    batch = options.batch_size or (16 if device.type == "cuda" else 1)
    at_once = (4 if device.type == "cuda" else 1) * batch  # as VGFasterRCNN.batches_at_once

    files = sorted(options.images.glob("*.jpg"))[: options.number]
    raw = [np.array(Image.open(file).convert("RGB")) for file in files]
    if options.only != "detector":
        others(options, raw, clock)
    if options.only == "others":
        return
    images = [prepare(image, recipe) for image in raw]
    network = randomize(FasterRCNN(ARCHITECTURES[recipe.family], recipe), 0)
    selection = RegionSelection(max_regions=options.max_regions)
    ours = Detector(copy.deepcopy(network), selection, device=device, compute_dtype=dtype, batch_size=batch)
    exact = ours
    if dtype != torch.float32:
        exact = Detector(copy.deepcopy(network), selection, device=device, batch_size=batch)
    plain = Plain(network, device, options.max_regions)

    with FlopCounterMode(display=False) as counter:
        expected = plain(images)
    flops = counter.get_total_flops() / len(images)
    found = exact(images)
    differences = []
    for one, two in zip(expected, found, strict=True):
        if len(one["scores"]) != len(two["scores"]):
            raise SystemExit(f"the forms keep {len(one['scores'])} and {len(two['scores'])} regions")
        differences.append(np.abs(one["regions"] - two["regions"]).max() / np.abs(one["regions"]).max())
    print(f"largest difference of a feature, plain to ours in float32: {max(differences):.1e} of the largest value")
    if exact is not ours:
        print(f"{options.compute_dtype} against float32: {agreement(found, ours(images))}")

    forms: dict[str, tuple[Callable[[], object], torch.dtype]] = {
        "plain": (lambda: plain(images), torch.float32),
        "ours": (lambda: ours(images), dtype),
    }
    if options.decode:
        workers = options.workers or default_workers()
        forms = {
            "plain": (lambda: [plain([prepare(read_image(file), recipe)]) for file in files], torch.float32),
            "ours": (lambda: decoded(files, recipe, workers, at_once, ours), dtype),
        }
    times: dict[str, list[float]] = {name: [] for name in forms}
    peaks: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(options.rounds):
        for name, (work, used) in forms.items():
            peaks[name].append(peak(device, used, clock))
            times[name].append(seconds(work, device, clock) / len(images))
    ratios = [a / b for a, b in zip(times["plain"], times["ours"], strict=True)]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{name}, {len(images)} images, recipe {recipe.name}, {flops / 1e12:.2f} TFLOP an image")
    for form in forms:
        once, best = statistics.median(times[form]), statistics.median(peaks[form])
        print(
            f"{form:>6}: {once:8.3f} s an image, {1 / once:8.3f} images/s,"
            f" {flops / once / best:6.1%} of {best / 1e12:.3f} TFLOP/s"
        )
    print(f"plain over ours: {statistics.median(ratios):.2f} (rounds: {', '.join(f'{r:.2f}' for r in ratios)})")


if __name__ == "__main__":
    main()
