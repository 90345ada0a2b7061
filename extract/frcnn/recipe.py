"""The differences between the public Visual Genome detectors: numbers in a `Recipe`, layers in an `Architecture`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Family = Literal["caffe", "hf", "d2"]

BUA_MEAN = (102.9801, 115.9465, 122.7717)  # blue, green, red
D2_MEAN = (103.53, 116.28, 123.675)


@dataclass(frozen=True)
class Recipe:
    """Everything beside the weights that decides the detector's numbers. Boxes are x1, y1, x2, y2."""

    name: str
    """Name of this recipe in `RECIPES`."""
    family: Family
    """Family of the checkpoint: the names and shapes of its layers."""
    short_side: int
    """The shorter image side after resizing, in pixels, unless `long_side` binds."""
    long_side: int
    """Upper limit of the longer image side after resizing, in pixels."""
    resize: Literal["float", "pil", "cv2"] = "float"
    """`float`: bilinear on float32, pixel step from the two sizes. `cv2`: the same with the step taken from the scale.
    `pil`: Pillow's bilinear filter on uint8, which averages when it shrinks."""
    channels: Literal["BGR", "RGB"] = "BGR"
    """Channel order of the network's input. All public weights were trained on BGR; see `docs/detector.md`."""
    mean: tuple[float, float, float] = BUA_MEAN
    """Mean that is subtracted from the channels, in their order."""
    stem_pool: Literal["ceil", "pad"] = "ceil"
    """The stem's 3x3 max-pool of stride 2: without padding and with `ceil_mode`, or with padding 1."""
    rpn_score: Literal["softmax", "logits"] = "logits"
    """`softmax` over two channels an anchor (all background channels first), or one logit an anchor."""
    anchor_order: Literal["ratio-major", "size-major"] = "size-major"
    """Anchors for a file without its own: `ratio-major` are Caffe's (centred at 7.5, rounded), `size-major`
    detectron2's (centred at 0)."""
    anchor_sizes: tuple[int, ...] = (64, 128, 256, 512)
    """Square roots of the anchors' areas, in pixels of the resized image."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Ratios of the anchors' height to width."""
    plus_one: bool = False
    """True where a box of x1 = x2 is one pixel wide: widths + 1, clipping to side - 1, and second-stage arithmetic in
    pixels of the original image."""
    nms_inclusive: bool = False
    """True where a box is suppressed at IoU >= threshold, False where at IoU > threshold."""
    filter_first: bool = False
    """True where small proposals are removed before the best `pre_nms` are taken."""
    min_side: float = 0.0
    """Size in pixels of the original image that a proposal's width and height must exceed."""
    pre_nms: int = 6000
    """Anchors that enter the proposals' suppression."""
    post_nms: int = 300
    """Proposals that leave it."""
    rpn_nms: float = 0.7
    """The proposals' IoU threshold."""
    rpn_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    """Divisors of the first stage's dx, dy, dw, dh."""
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    """Divisors of the second stage's dx, dy, dw, dh."""
    background: Literal["first", "last"] = "last"
    """Position of the background among the object classes."""
    attribute_background: Literal["first", "last", "none"] = "last"
    """`first`: softmax over all, then the first column is left out. `last`: the last logit is left out before the
    softmax. `none`: there is none."""
    pooler: Literal["roi-pool", "roi-align"] = "roi-pool"
    """`roi-pool` takes maxima of rounded bins; `roi-align` is the half-pixel one with 2x2 samples a bin."""
    pooled: int = 14
    """Bins a side."""
    res5_stride: Literal[1, 2] = 1
    """Stride of res5's first 1x1 convolutions."""
    res5_dilation: Literal[1, 2] = 2
    """Dilation and padding of res5's 3x3 convolutions."""
    output_boxes: Literal["proposals", "regressed"] = "regressed"
    """Boxes that are suppressed and returned. The features are the proposals' in any case."""

    def __post_init__(self) -> None:
        if not 0 < self.short_side <= self.long_side:
            raise ValueError(f"0 < short_side <= long_side is needed, got {self.short_side} and {self.long_side}")
        if self.pre_nms < 1 or self.post_nms < 1 or self.pooled < 1:
            raise ValueError(
                f"pre_nms, post_nms and pooled must be positive, got {self.pre_nms}, {self.post_nms}, {self.pooled}"
            )
        if not 0 < self.rpn_nms < 1:
            raise ValueError(f"rpn_nms must lie between 0 and 1, got {self.rpn_nms}")

    @property
    def anchors(self) -> int:
        """Number of anchors at a position."""
        return len(self.anchor_sizes) * len(self.anchor_ratios)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, in their order."""
        return asdict(self)


_HF = Recipe(name="hf", family="hf", short_side=800, long_side=1333)

RECIPES: dict[str, Recipe] = {
    "caffe": Recipe(
        name="caffe",
        family="caffe",
        short_side=600,
        long_side=1000,
        resize="cv2",
        rpn_score="softmax",
        anchor_order="ratio-major",
        plus_one=True,
        nms_inclusive=True,
        filter_first=True,
        min_side=16.0,
        box_weights=(1.0, 1.0, 1.0, 1.0),
        background="first",
        attribute_background="first",
        output_boxes="proposals",
    ),
    "airsplay": Recipe(name="airsplay", family="hf", short_side=600, long_side=1000, resize="pil"),
    "hf": _HF,
    "d2": Recipe(
        name="d2",
        family="d2",
        short_side=600,
        long_side=1000,
        resize="cv2",
        mean=D2_MEAN,
        stem_pool="pad",
        anchor_sizes=(32, 64, 128, 256, 512),
        post_nms=1000,
        attribute_background="none",
        pooler="roi-align",
        res5_stride=2,
        res5_dilation=1,
    ),
}
"""The public checkpoints' recipes by name; `hf` and `airsplay` share one family of files."""


@dataclass(frozen=True)
class Architecture:
    """The layers' sizes; the defaults are those of ResNet-101 C4 with Visual Genome's vocabulary."""

    blocks: tuple[int, int, int, int] = (3, 4, 23, 3)
    """Bottlenecks of res2, res3, res4 and res5."""
    stem: int = 64
    """Channels of the stem."""
    inner: int = 64
    """Channels inside res2's bottlenecks; doubled at each stage."""
    outer: int = 256
    """Channels that leave res2; doubled at each stage."""
    rpn_hidden: int = 512
    """Channels of the proposal head's 3x3 convolution."""
    classes: int = 1600
    """Object classes without the background."""
    attributes: int = 400
    """Attribute classes without the background."""
    embedding: int = 256
    """Length of the class embedding that the attribute head reads."""
    attribute_hidden: int = 512
    """Width of the attribute head's hidden layer."""

    def __post_init__(self) -> None:
        sizes = (*self.blocks, self.stem, self.inner, self.outer, self.rpn_hidden, self.classes, self.attributes)
        if len(self.blocks) != 4 or min(*sizes, self.embedding, self.attribute_hidden) < 1:
            raise ValueError(f"four stages and positive sizes are needed, got {self}")

    @property
    def feature_dim(self) -> int:
        """Length of a region's feature."""
        return self.outer * 8


ARCHITECTURES: dict[Family, Architecture] = {
    "caffe": Architecture(),
    "hf": Architecture(),
    "d2": Architecture(rpn_hidden=1024),
}
"""The public checkpoints' layers by family."""
