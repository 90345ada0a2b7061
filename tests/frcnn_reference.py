"""A plain reference of the Visual Genome detectors: float64 NumPy, loops, one image at a time.

Written from the recipes of the public ports (Caffe's py-faster-rcnn as MILVLG ported it, airsplay's and Hugging Face's,
MILVLG's detectron2 model); it shares no code with `itin.extract.frcnn`. It reads a checkpoint's own names.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray
Rules = dict[str, Any]

_COMMON: Rules = {
    "mean": (102.9801, 115.9465, 122.7717),
    "pre_nms": 6000,
    "post_nms": 300,
    "rpn_nms": 0.7,
    "bins": 14,
    "min_size": 32,
}
RULES: dict[str, Rules] = {
    "caffe": _COMMON
    | {
        "short": 600,
        "long": 1000,
        "resize": "cv2",
        "weights": (1.0, 1.0, 1.0, 1.0),
        "head": ("box_predictor.cls_embed", "box_predictor.attr_linear1", "box_predictor.attr_linear2"),
    },
    "airsplay": _COMMON
    | {
        "short": 600,
        "long": 1000,
        "resize": "pil",
        "weights": (10.0, 10.0, 5.0, 5.0),
        "head": ("box_predictor.cls_embedding", "box_predictor.fc_attr", "box_predictor.attr_score"),
    },
    "hf": _COMMON
    | {
        "short": 800,
        "long": 1333,
        "resize": "float",
        "weights": (10.0, 10.0, 5.0, 5.0),
        "head": ("box_predictor.cls_embedding", "box_predictor.fc_attr", "box_predictor.attr_score"),
    },
    "d2": _COMMON
    | {
        "mean": (103.53, 116.28, 123.675),
        "short": 600,
        "long": 1000,
        "resize": "cv2",
        "post_nms": 1000,
        "weights": (10.0, 10.0, 5.0, 5.0),
        "head": ("attribute_predictor.obj_embed", "attribute_predictor.fc.0", "attribute_predictor.attr_score"),
    },
}


def anchors(name: str) -> Array:
    """Each family's anchors at the first position, as the ports print them."""
    rows = []
    if name == "caffe":
        for w, h in ((23, 12), (16, 16), (11, 22)):  # a 16-pixel cell at ratios 0.5, 1, 2
            for scale in (4, 8, 16, 32):
                rows.append([7.5 - (w * scale - 1) / 2, 7.5 - (h * scale - 1) / 2])
                rows[-1] += [7.5 + (w * scale - 1) / 2, 7.5 + (h * scale - 1) / 2]
    else:
        for size in (32, 64, 128, 256, 512) if name == "d2" else (64, 128, 256, 512):
            for ratio in (0.5, 1.0, 2.0):
                w, h = size / math.sqrt(ratio), size * math.sqrt(ratio)
                rows.append([-w / 2, -h / 2, w / 2, h / 2])
    return np.array(rows)


# --- preprocessing


def prepare(image: Array, rules: Rules) -> tuple[Array, float, tuple[float, float]]:
    """(H, W, 3) RGB -> (3, h, w) BGR minus mean, scale, factors (x, y) back to the original."""
    height, width = image.shape[:2]
    scale = rules["short"] / min(height, width)
    if rules["resize"] == "cv2":
        if np.round(scale * max(height, width)) > rules["long"]:
            scale = rules["long"] / max(height, width)
        h, w = int(np.rint(height * scale)), int(np.rint(width * scale))
        step_y = step_x = 1 / scale
        back = (1 / scale, 1 / scale)
    else:
        if max(height, width) * scale > rules["long"]:
            scale = rules["long"] / max(height, width)
        h, w = int(height * scale + 0.5), int(width * scale + 0.5)
        step_y, step_x = height / h, width / w
        back = (width / w, height / h)
    if rules["resize"] == "pil":
        bands = [Image.fromarray(image[:, :, c]).resize((w, h), Image.Resampling.BILINEAR) for c in range(3)]
        resized = np.stack([np.asarray(band) for band in bands], -1).astype(np.float64)
    else:
        resized = np.zeros((h, w, 3))
        ys, xs = bilinear_steps(h, step_y, height), bilinear_steps(w, step_x, width)
        for i, (y0, y1, fy) in enumerate(ys):
            for j, (x0, x1, fx) in enumerate(xs):
                top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
                low = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
                resized[i, j] = top * (1 - fy) + low * fy
    bgr = resized[:, :, ::-1] - np.array(rules["mean"])
    return bgr.transpose(2, 0, 1), scale, back


def bilinear_steps(out: int, step: float, size: int) -> list[tuple[int, int, float]]:
    """For each output position: two source positions and the second's weight; pixel centres at halves."""
    steps = []
    for i in range(out):
        at = min(max((i + 0.5) * step - 0.5, 0.0), size - 1.0)
        low = math.floor(at)
        steps.append((low, min(low + 1, size - 1), at - low))
    return steps


# --- layers


def conv(x: Array, weight: Array, bias: Array | None = None, stride: int = 1, pad: int = 0, dilation: int = 1) -> Array:
    """(C, H, W) -> (O, H', W'), a sum over the window's offsets."""
    _, height, width = x.shape
    kernel = weight.shape[2]
    reach = dilation * (kernel - 1) + 1
    h, w = (height + 2 * pad - reach) // stride + 1, (width + 2 * pad - reach) // stride + 1
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    out = np.zeros((weight.shape[0], h, w))
    for i in range(kernel):
        for j in range(kernel):
            y, z = i * dilation, j * dilation
            window = padded[:, y : y + (h - 1) * stride + 1 : stride, z : z + (w - 1) * stride + 1 : stride]
            out += np.tensordot(weight[:, :, i, j], window, 1)
    return out if bias is None else out + bias[:, None, None]


def max_pool(x: Array, ceil: bool) -> Array:
    """3x3, stride 2: Caffe's (no padding, rounded up) or PyTorch's usual one (padding 1)."""
    _, height, width = x.shape
    offset = 0 if ceil else -1
    sides = [math.ceil((s - 3) / 2) + 1 if ceil else (s - 1) // 2 + 1 for s in (height, width)]
    out = np.zeros((x.shape[0], *sides))
    for i in range(sides[0]):
        for j in range(sides[1]):
            y, z = 2 * i + offset, 2 * j + offset
            out[:, i, j] = x[:, max(y, 0) : y + 3, max(z, 0) : z + 3].max((1, 2))
    return out


class Net:
    """A checkpoint's layers. `state` holds the file's own names."""

    def __init__(self, name: str, state: dict[str, Array], rules: Rules) -> None:
        self.name, self.rules = name, rules
        self.state = {key: np.asarray(value, np.float64) for key, value in state.items()}
        key = "proposal_generator.anchor_generator.cell_anchors.0"
        self.anchors = self.state.get(key, anchors(name))

    def conv_norm(self, x: Array, name: str, stride: int = 1, pad: int = 0, dilation: int = 1) -> Array:
        y = conv(x, self.state[f"{name}.weight"], None, stride, pad, dilation)
        norm = [self.state[f"{name}.norm.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        weight, bias, mean, var = (part[:, None, None] for part in norm)
        return (y - mean) / np.sqrt(var + 1e-5) * weight + bias

    def block(self, x: Array, name: str, stride: int, dilation: int = 1) -> Array:
        y = np.maximum(self.conv_norm(x, f"{name}.conv1", stride), 0)
        y = np.maximum(self.conv_norm(y, f"{name}.conv2", 1, dilation, dilation), 0)
        y = self.conv_norm(y, f"{name}.conv3")
        if f"{name}.shortcut.weight" in self.state:
            x = self.conv_norm(x, f"{name}.shortcut", stride)
        return np.maximum(x + y, 0)

    def stage(self, x: Array, name: str, stride: int, dilation: int = 1) -> Array:
        number = 0
        while f"{name}.{number}.conv1.weight" in self.state:
            x = self.block(x, f"{name}.{number}", stride if number == 0 else 1, dilation)
            number += 1
        return x

    def backbone(self, x: Array) -> Array:
        x = np.maximum(self.conv_norm(x, "backbone.stem.conv1", 2, 3), 0)
        x = max_pool(x, ceil=self.name != "d2")
        for name, stride in (("res2", 1), ("res3", 2), ("res4", 2)):
            x = self.stage(x, f"backbone.{name}", stride)
        return x

    def layer(self, name: str) -> tuple[Array, Array]:
        return self.state[f"{name}.weight"], self.state[f"{name}.bias"]

    def rpn(self, x: Array) -> tuple[Array, Array]:
        """Scores and deltas of all anchors: (H * W * A,), (H * W * A, 4)."""
        head = "proposal_generator.rpn_head"
        hidden = np.maximum(conv(x, *self.layer(f"{head}.conv"), 1, 1), 0)
        logits = conv(hidden, *self.layer(f"{head}.objectness_logits"))
        deltas = conv(hidden, *self.layer(f"{head}.anchor_deltas"))
        number = len(self.anchors)
        scores, moves = [], []
        for y in range(x.shape[1]):
            for z in range(x.shape[2]):
                for a in range(number):
                    if self.name == "caffe":
                        pair = np.exp(logits[[a, number + a], y, z] - logits[[a, number + a], y, z].max())
                        scores.append(pair[1] / pair.sum())
                    else:
                        scores.append(logits[a, y, z])
                    moves.append(deltas[4 * a : 4 * a + 4, y, z])
        return np.array(scores), np.array(moves)

    def grid(self, height: int, width: int) -> Array:
        return np.array(
            [
                anchor + 16 * np.array([x, y, x, y])
                for y in range(height)
                for x in range(width)
                for anchor in self.anchors
            ]
        )

    def proposals(self, scores: Array, moves: Array, grid: Array, size: tuple[int, int], scale: float) -> Array:
        """Best first, (n, 4)."""
        caffe = self.name == "caffe"
        boxes = np.array([shift(box, move, (1, 1, 1, 1), caffe) for box, move in zip(grid, moves, strict=True)])
        boxes = np.array([cut(box, size, caffe) for box in boxes])
        order = np.argsort(-scores, kind="stable").tolist()
        if caffe:
            order = [
                i
                for i in order
                if boxes[i, 2] > boxes[i, 0]
                and boxes[i, 3] > boxes[i, 1]
                and min(boxes[i, 2:] - boxes[i, :2] + 1) > 16 * scale
            ][: self.rules["pre_nms"]]
        else:
            order = [i for i in order[: self.rules["pre_nms"]] if min(boxes[i, 2:] - boxes[i, :2]) > 0]
        keep = suppress(boxes[order], self.rules["rpn_nms"], caffe)
        return boxes[[order[i] for i in keep[: self.rules["post_nms"]]]]

    def pool(self, features: Array, box: Array) -> Array:
        return roi_align(features, box) if self.name == "d2" else roi_pool(features, box)

    def region(self, features: Array, box: Array) -> Array:
        """A proposal's feature, (D,)."""
        stride, dilation = (2, 1) if self.name == "d2" else (1, 2)
        return self.stage(self.pool(features, box), "roi_heads.res5", stride, dilation).mean((1, 2))

    def heads(self, x: Array) -> tuple[Array, Array, Array]:
        """Class logits, deltas and attribute logits of one region."""
        embedding, hidden, out = (f"roi_heads.{name}" for name in self.rules["head"])
        weight, bias = self.layer("roi_heads.box_predictor.cls_score")
        logits = weight @ x + bias
        weight, bias = self.layer("roi_heads.box_predictor.bbox_pred")
        deltas = weight @ x + bias
        both = np.concatenate([x, self.state[f"{embedding}.weight"][logits.argmax()]])
        weight, bias = self.layer(hidden)
        both = np.maximum(weight @ both + bias, 0)
        weight, bias = self.layer(out)
        return logits, deltas, weight @ both + bias


# --- boxes


def shift(box: Array, move: Array, weights: tuple[float, ...], plus_one: bool) -> Array:
    one = 1.0 if plus_one else 0.0
    w, h = box[2] - box[0] + one, box[3] - box[1] + one
    x, y = box[0] + 0.5 * w, box[1] + 0.5 * h
    dx, dy, dw, dh = (m / weight for m, weight in zip(move, weights, strict=True))
    limit = math.log(1000 / 16)
    x, y, w, h = x + dx * w, y + dy * h, w * math.exp(min(dw, limit)), h * math.exp(min(dh, limit))
    return np.array([x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h])


def cut(box: Array, size: tuple[float, float], plus_one: bool) -> Array:
    one = 1.0 if plus_one else 0.0
    right, bottom = size[1] - one, size[0] - one
    return np.array([min(max(v, 0), limit) for v, limit in zip(box, (right, bottom, right, bottom), strict=True)])


def iou(a: Array, b: Array, plus_one: bool) -> float:
    one = 1.0 if plus_one else 0.0
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + one)
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + one)
    union = (a[2] - a[0] + one) * (a[3] - a[1] + one) + (b[2] - b[0] + one) * (b[3] - b[1] + one) - w * h
    return w * h / union if union > 0 else 0.0


def suppress(boxes: Array, threshold: float, plus_one: bool) -> list[int]:
    """Greedy suppression of boxes in descending order; Caffe's at >=, torchvision's at >."""
    keep: list[int] = []
    for i in range(len(boxes)):
        overlaps = [iou(boxes[i], boxes[j], plus_one) for j in keep]
        if not any(o >= threshold if plus_one else o > threshold for o in overlaps):
            keep.append(i)
    return keep


# --- pooling


def roi_pool(features: Array, box: Array, bins: int = 14) -> Array:
    """Maxima over rounded bins at 1/16; bin sides in float32, as the original computes them."""
    channels, height, width = features.shape
    x0, y0, x1, y1 = (math.floor(v / 16 + 0.5) for v in box)
    step_y = np.float32(max(y1 - y0 + 1, 1)) / np.float32(bins)
    step_x = np.float32(max(x1 - x0 + 1, 1)) / np.float32(bins)
    out = np.zeros((channels, bins, bins))
    for i in range(bins):
        top = min(max(int(np.floor(np.float32(i) * step_y)) + y0, 0), height)
        low = min(max(int(np.ceil(np.float32(i + 1) * step_y)) + y0, 0), height)
        for j in range(bins):
            left = min(max(int(np.floor(np.float32(j) * step_x)) + x0, 0), width)
            right = min(max(int(np.ceil(np.float32(j + 1) * step_x)) + x0, 0), width)
            if low > top and right > left:
                out[:, i, j] = features[:, top:low, left:right].max((1, 2))
    return out


def roi_align(features: Array, box: Array, bins: int = 14, samples: int = 2) -> Array:
    """Means of bilinear samples at 1/16, with half-pixel centres."""
    out = np.zeros((features.shape[0], bins, bins))
    x0, y0, x1, y1 = box / 16 - 0.5
    for i in range(bins):
        for j in range(bins):
            for a in range(samples):
                for b in range(samples):
                    y = y0 + (i + (a + 0.5) / samples) * (y1 - y0) / bins
                    x = x0 + (j + (b + 0.5) / samples) * (x1 - x0) / bins
                    out[:, i, j] += sample(features, y, x) / samples**2
    return out


def sample(features: Array, y: float, x: float) -> Array:
    channels, height, width = features.shape
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(channels)
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    low, right = min(top + 1, height - 1), min(left + 1, width - 1)
    fy, fx = y - top, x - left
    upper = features[:, top, left] * (1 - fx) + features[:, top, right] * fx
    lower = features[:, low, left] * (1 - fx) + features[:, low, right] * fx
    result: Array = upper * (1 - fy) + lower * fy
    return result


# --- selection


def softmax(x: Array) -> Array:
    y = np.exp(x - x.max())
    result: Array = y / y.sum()
    return result


def object_probabilities(name: str, logits: Array) -> Array:
    probabilities = softmax(logits)
    return probabilities[1:] if name == "caffe" else probabilities[:-1]


def attribute_probabilities(name: str, logits: Array) -> Array:
    if name == "caffe":
        return softmax(logits)[1:]
    return softmax(logits) if name == "d2" else softmax(logits[:-1])


def outgoing(
    name: str,
    proposal: Array,
    deltas: Array,
    label: int,
    size: tuple[int, int],
    weights: tuple[float, ...],
    back: tuple[float, float],
) -> tuple[Array, Array]:
    """The box that suppression sees, and the box in the original image, of a proposal and a class."""
    factors = np.array([*back, *back])
    if name == "caffe":
        return proposal * factors, proposal * factors
    box = cut(shift(proposal, deltas[4 * label : 4 * label + 4], weights, False), size, False)
    return box, box * factors


def select(
    name: str,
    rule: str,
    probabilities: Array,
    boxes: Array,
    least: int,
    most: int,
    threshold: float = 0.2,
) -> list[tuple[int, float]]:
    """(proposal, score) of the kept proposals.

    Args:
        probabilities: (n, classes), without the background.
        boxes: (n, classes, 4) that suppression sees.
    """
    number, classes = probabilities.shape
    caffe = name == "caffe"
    if rule == "hf":
        best = probabilities.argmax(1)
        order = np.argsort(-probabilities.max(1), kind="stable")
        for overlap in (0.5, 0.6, 0.7):
            keep = suppress(np.array([boxes[i, best[i]] for i in order]), overlap, caffe)
            if len(keep) >= least:
                break
        return [(int(order[i]), float(probabilities[order[i]].max())) for i in keep[:most]]
    confidence = np.zeros(number)
    for label in range(classes):
        order = np.argsort(-probabilities[:, label], kind="stable")
        for i in suppress(boxes[order, label], 0.3, caffe):
            confidence[order[i]] = max(confidence[order[i]], probabilities[order[i], label])
    count = min(max(int((confidence >= threshold).sum()), least), most, number)
    order = np.argsort(-confidence, kind="stable")[:count]
    return [(int(i), float(confidence[i])) for i in order]


def detect(net: Net, image: Array, rule: str, least: int, most: int) -> dict[str, Array]:
    """The whole detector on one image: the arrays of the `regions` store."""
    pixels, scale, back = prepare(image, net.rules)
    size = pixels.shape[1:]
    features = net.backbone(pixels)
    scores, moves = net.rpn(features)
    found = net.proposals(scores, moves, net.grid(*features.shape[1:]), size, scale)
    regions = np.array([net.region(features, box) for box in found])
    heads = [net.heads(region) for region in regions]
    objects = np.array([object_probabilities(net.name, logits) for logits, _, _ in heads])
    attributes = np.array([attribute_probabilities(net.name, logits) for _, _, logits in heads])
    pairs = [
        [outgoing(net.name, box, deltas, label, size, net.rules["weights"], back) for label in range(objects.shape[1])]
        for box, (_, deltas, _) in zip(found, heads, strict=True)
    ]
    kept = select(net.name, rule, objects, np.array([[seen for seen, _ in row] for row in pairs]), least, most)
    rows = [i for i, _ in kept]
    return {
        "rows": np.array(rows),
        "regions": regions[rows],
        "boxes": np.array([pairs[i][objects[i].argmax()][1] for i in rows]),
        "scores": np.array([score for _, score in kept]),
        "objects": objects[rows].argmax(1),
        "object_scores": objects[rows].max(1),
        "attributes": attributes[rows].argmax(1),
        "attribute_scores": attributes[rows].max(1),
    }
