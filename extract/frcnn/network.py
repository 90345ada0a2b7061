"""The layers of the Faster R-CNN, named as the checkpoints name them: ResNet C4, proposals, res5, boxes, attributes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .boxes import cell_anchors
from .recipe import Architecture, Recipe

STRIDE = 16
"""Pixels of the resized image for each position of res4."""

ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"
"""The name of the anchors in a network's state."""


def _weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape), requires_grad=False)


class FrozenNorm(nn.Module):
    """Batch norm with fixed statistics."""

    eps = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = _weight(channels)
        self.bias = _weight(channels)
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.running_mean: Tensor
        self.running_var: Tensor

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift of the channels, (C,) and (C,)."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x, (B, C, H, W)."""
        scale, shift = self.affine()
        return x * scale[:, None, None] + shift[:, None, None]


class ConvNorm(nn.Module):
    """A convolution without bias and its frozen norm; `fold` makes one convolution of the two."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> None:
        super().__init__()
        self.weight = _weight(cout, cin, kernel, kernel)
        self.norm: FrozenNorm | None = FrozenNorm(cout)
        self.bias: nn.Parameter | None = None
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def fold(self) -> None:
        """Multiply the norm into the weights; the values change by rounding only."""
        if self.norm is None:
            return
        scale, shift = self.norm.affine()
        self.weight = nn.Parameter(self.weight * scale[:, None, None, None], requires_grad=False)
        self.bias = nn.Parameter(shift.clone(), requires_grad=False)
        self.norm = None

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalise x, (B, C_in, H, W)."""
        weight: Tensor = self.weight
        if self.dilation > 1 and x.is_cuda and x.dtype == torch.float32:
            # For channels last cuDNN has only a direct kernel here: 47 times slower on an H200.
            x, weight = x.contiguous(), weight.contiguous()
        y = F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation)
        return y if self.norm is None else self.norm(y)

    def relu(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Convolve and normalise x, add the shortcut, (B, C_out, H', W'), and return the ReLU of the sum.

        In half precision cuDNN does all of it in one kernel: additions and ReLU alone take as long as convolutions.
        """
        if self.bias is not None and x.is_cuda and x.dtype != torch.float32:
            how = self.bias, [self.stride] * 2, [self.padding] * 2, [self.dilation] * 2, 1
            if shortcut is None:
                return torch.cudnn_convolution_relu(x, self.weight, *how)
            return torch.cudnn_convolution_add_relu(x, self.weight, shortcut, 1.0, *how)
        y: Tensor = self(x)
        if shortcut is not None:
            y += shortcut
        return y.relu_()

    def rows(self, x: Tensor) -> Tensor:
        """Apply a 1x1 convolution to a list of positions, (U, C_in) -> (U, C_out)."""
        if self.norm is None and x.is_cuda:
            return F.linear(x, self.weight.flatten(1), self.bias)
        y = F.conv2d(x[None, :, None].permute(0, 3, 1, 2), self.weight, self.bias)
        y = y if self.norm is None else self.norm(y)
        return y.permute(0, 2, 3, 1).reshape(len(x), -1)


class Borders:
    """What lies outside each image of a padded batch, to be cleared before a 3x3 window reads it.

    A convolution of an image alone sees zeros beyond its edge. In a padded batch it would see what the layers computed
    from the padding.

    Args:
        extents: each image's own (height, width) in this map.
        height: height of the map.
        width: width of the map.
        device: device of the map.
    """

    def __init__(self, extents: Sequence[tuple[int, int]], height: int, width: int, device: torch.device) -> None:
        self.outside: Tensor | None = None
        if any(extent != (height, width) for extent in extents):
            own = torch.tensor(extents, device=device)[..., None, None]  # (B, 2, 1, 1)
            rows, columns = torch.arange(height, device=device), torch.arange(width, device=device)
            self.outside = ((rows[:, None] >= own[:, 0]) | (columns >= own[:, 1]))[:, None]  # (B, 1, H, W)

    def clear(self, x: Tensor) -> Tensor:
        """Set what is outside in x, (B, C, H, W), to zero in place."""
        return x if self.outside is None else x.masked_fill_(self.outside, 0)


class Bottleneck(nn.Module):
    """Convolutions 1x1 (with the stride), 3x3 and 1x1, and the shortcut."""

    def __init__(self, cin: int, inner: int, cout: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.shortcut = ConvNorm(cin, cout, 1, stride) if cin != cout else None
        self.conv1 = ConvNorm(cin, inner, 1, stride)
        self.conv2 = ConvNorm(inner, inner, 3, 1, dilation, dilation)
        self.conv3 = ConvNorm(inner, cout, 1)

    def forward(self, x: Tensor, borders: Borders | None = None) -> Tensor:
        """Return the block's output for x, (B, C_in, H, W)."""
        y = self.conv1.relu(x)
        if borders is not None:
            borders.clear(y)
        return self.finish(y, x if self.shortcut is None else self.shortcut(x))

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the arguments of `finish` for a list of positions: (U, C_in) -> (U, inner) and (U, C_out)."""
        return self.conv1.rows(x).relu_(), x if self.shortcut is None else self.shortcut.rows(x)

    def finish(self, y: Tensor, shortcut: Tensor) -> Tensor:
        """Continue from the outputs of the first convolution, (B, inner, H, W), and the shortcut, (B, C_out, H, W)."""
        return self.conv3.relu(self.conv2.relu(y), shortcut)


class Stage(nn.Sequential):
    """Bottlenecks of one resolution."""

    def __init__(self, count: int, cin: int, inner: int, cout: int, stride: int, dilation: int = 1) -> None:
        first = Bottleneck(cin, inner, cout, stride, dilation)
        super().__init__(first, *(Bottleneck(cout, inner, cout, 1, dilation) for _ in range(count - 1)))

    def forward(self, x: Tensor, borders: Borders | None = None) -> Tensor:
        """Return the stage's output for x, (B, C_in, H, W)."""
        for block in self.blocks:
            x = block(x, borders)
        return x

    @property
    def blocks(self) -> list[Bottleneck]:
        """The bottlenecks in order."""
        return [block for block in self if isinstance(block, Bottleneck)]

    def start(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the arguments of `finish` for a list of positions: see `Bottleneck.start`."""
        return self.blocks[0].start(x)

    def finish(self, y: Tensor, shortcut: Tensor) -> Tensor:
        """Continue from these to the end of the stage."""
        x = self.blocks[0].finish(y, shortcut)
        for block in self.blocks[1:]:
            x = block(x)
        return x


class Stem(nn.Module):
    """A 7x7 convolution of stride 2."""

    def __init__(self, cout: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, cout, 7, 2, 3)


class Backbone(nn.Module):
    """The layers from the image to res4, of stride 16."""

    def __init__(self, a: Architecture, stem_pool: str) -> None:
        super().__init__()
        self.stem = Stem(a.stem)
        self.res2 = Stage(a.blocks[0], a.stem, a.inner, a.outer, 1)
        self.res3 = Stage(a.blocks[1], a.outer, a.inner * 2, a.outer * 2, 2)
        self.res4 = Stage(a.blocks[2], a.outer * 2, a.inner * 4, a.outer * 4, 2)
        self.ceil = stem_pool == "ceil"

    def pooled_side(self, side: int) -> int:
        """Return the length of a side after the stem's max-pool."""
        return (side + 1) // 2 if not self.ceil else max((side - 2) // 2 + 1, 1)

    def forward(self, x: Tensor, sizes: Sequence[tuple[int, int]]) -> tuple[Tensor, list[tuple[int, int]]]:
        """Return the features and each image's own part of them.

        Args:
            x: (B, 3, H, W), zero right of and below each image.
            sizes: each image's own (height, width).

        Returns:
            (B, C, H', W') float, valid within each image's (height', width') only, and these.
        """

        def halve(extents: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
            return [((h + 1) // 2, (w + 1) // 2) for h, w in extents]

        def borders(extents: Sequence[tuple[int, int]]) -> Borders:
            return Borders(extents, x.shape[2], x.shape[3], x.device)

        extents = halve(sizes)
        x = self.stem.conv1.relu(x)
        x = borders(extents).clear(x)
        if self.ceil:
            x = F.max_pool2d(x, 3, 2, 0, ceil_mode=True)
        else:
            x = F.max_pool2d(x, 3, 2, 1)
        extents = [(self.pooled_side(h), self.pooled_side(w)) for h, w in extents]
        x = self.res2(x, borders(extents))
        for stage in (self.res3, self.res4):
            extents = halve(extents)
            inside = Borders(extents, (x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2, x.device)
            x = stage(x, inside)
        return borders(extents).clear(x), extents


class CellAnchors(nn.Module):
    """The buffer `cell_anchors.0`, (A, 4): the anchors of the first position."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.cell_anchors = nn.Module()
        self.cell_anchors.register_buffer("0", cell_anchors(recipe))

    def forward(self) -> Tensor:
        """Return the anchors, (A, 4) float32."""
        return self.cell_anchors.get_buffer("0")


class ProposalHead(nn.Module):
    """The layers of each anchor's scores and box deltas."""

    def __init__(self, cin: int, hidden: int, anchors: int, scores: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, hidden, 3, padding=1)
        self.objectness_logits = nn.Conv2d(hidden, anchors * scores, 1)
        self.anchor_deltas = nn.Conv2d(hidden, anchors * 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (B, A or 2A, H, W) and deltas (B, 4A, H, W) from features (B, C, H, W)."""
        y = self.conv(x).relu_()
        return self.objectness_logits(y), self.anchor_deltas(y)


class ProposalGenerator(nn.Module):
    """The first stage's layers."""

    def __init__(self, a: Architecture, recipe: Recipe) -> None:
        super().__init__()
        self.anchor_generator = CellAnchors(recipe)
        scores = 2 if recipe.rpn_score == "softmax" else 1
        self.rpn_head = ProposalHead(a.outer * 4, a.rpn_hidden, recipe.anchors, scores)


class BoxPredictor(nn.Module):
    """The layers of object classes, boxes and attributes from pooled features."""

    def __init__(self, a: Architecture, recipe: Recipe) -> None:
        super().__init__()
        boxes = a.classes + (recipe.background == "first")
        self.cls_score = nn.Linear(a.feature_dim, a.classes + 1)
        self.bbox_pred = nn.Linear(a.feature_dim, boxes * 4)
        self.cls_embedding = nn.Embedding(a.classes + 1, a.embedding)
        self.fc_attr = nn.Linear(a.feature_dim + a.embedding, a.attribute_hidden)
        self.attr_score = nn.Linear(a.attribute_hidden, a.attributes + (recipe.attribute_background != "none"))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return class logits, box deltas and attribute logits.

        The attribute head reads the embedding of the arg-max class, the background among them, as the originals do.

        Args:
            x: (R, D) float32.
        """
        logits = self.cls_score(x)
        embedded = self.cls_embedding(logits.argmax(1))
        attributes = self.attr_score(self.fc_attr(torch.cat([x, embedded], 1)).relu_())
        return logits, self.bbox_pred(x), attributes


class RoIHeads(nn.Module):
    """The second stage's layers."""

    def __init__(self, a: Architecture, recipe: Recipe) -> None:
        super().__init__()
        self.res5 = Stage(a.blocks[3], a.outer * 4, a.inner * 8, a.outer * 8, recipe.res5_stride, recipe.res5_dilation)
        self.box_predictor = BoxPredictor(a, recipe)


class FasterRCNN(nn.Module):
    """All layers of one detector, with zero weights until a state is loaded."""

    def __init__(self, architecture: Architecture, recipe: Recipe) -> None:
        super().__init__()
        self.architecture, self.recipe = architecture, recipe
        self.backbone = Backbone(architecture, recipe.stem_pool)
        self.proposal_generator = ProposalGenerator(architecture, recipe)
        self.roi_heads = RoIHeads(architecture, recipe)
        self.requires_grad_(False)
        self.eval()

    @property
    def anchors(self) -> Tensor:
        """The anchors of the first position, (A, 4) float32."""
        anchors: Tensor = self.proposal_generator.anchor_generator()
        return anchors

    def fold(self) -> FasterRCNN:
        """Fold every frozen norm into its convolution."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
        return self
