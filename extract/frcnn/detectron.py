"""The same detector built from detectron2's parts, for comparison; importing this file needs detectron2.

It runs image by image in float32. The weights are a `FasterRCNN`'s, whose names are detectron2's own but for the
attribute head; preprocessing is shared, everything after it is detectron2's, where it has the part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec, batched_nms
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone.resnet import BasicStem, BottleneckBlock, ResNet
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator.rpn import RPN, StandardRPNHead
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from ...device import matmul_precision
from .network import ANCHORS, STRIDE, FasterRCNN
from .preprocess import PreparedImage
from .recipe import Architecture, Recipe
from .selection import RegionSelection


class CeilStem(BasicStem):  # type: ignore[misc]
    """The stem with Caffe's max-pool."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled features, (B, 3, H, W) -> (B, C, H / 4, W / 4)."""
        return F.max_pool2d(F.relu_(self.conv1(x)), 3, 2, 0, ceil_mode=True)


class AttributePredictor(FastRCNNOutputLayers):  # type: ignore[misc]
    """The heads of classes, boxes and attributes."""

    def __init__(self, a: Architecture, recipe: Recipe) -> None:
        transform = Box2BoxTransform(recipe.box_weights)
        super().__init__(ShapeSpec(channels=a.feature_dim), box2box_transform=transform, num_classes=a.classes)
        self.cls_embedding = nn.Embedding(a.classes + 1, a.embedding)
        self.fc_attr = nn.Linear(a.feature_dim + a.embedding, a.attribute_hidden)
        self.attr_score = nn.Linear(a.attribute_hidden, a.attributes + (recipe.attribute_background != "none"))
        self.attribute_count = a.attributes

    def attributes(self, x: Tensor, logits: Tensor) -> Tensor:
        """Return probabilities (R, attributes) from features (R, D) and logits (R, classes + 1)."""
        hidden = F.relu(self.fc_attr(torch.cat([x, self.cls_embedding(logits.argmax(1))], 1)))
        scores: Tensor = self.attr_score(hidden)[:, : self.attribute_count]  # a background stands last
        return scores.softmax(1)


class Detectron2Model(nn.Module):
    """A network of detectron2's parts under our names."""

    def __init__(self, network: FasterRCNN) -> None:
        super().__init__()
        a, recipe = network.architecture, network.recipe

        def stage(number: int, stride: int, dilation: int = 1) -> list[nn.Module]:
            blocks: list[nn.Module] = ResNet.make_stage(
                BottleneckBlock,
                a.blocks[number],
                stride_per_block=[stride] + [1] * (a.blocks[number] - 1),
                in_channels=a.outer * 2 ** (number - 1) if number else a.stem,
                out_channels=a.outer * 2**number,
                bottleneck_channels=a.inner * 2**number,
                stride_in_1x1=True,
                dilation=dilation,
                norm="FrozenBN",
            )
            return blocks

        stem = (CeilStem if recipe.stem_pool == "ceil" else BasicStem)(out_channels=a.stem, norm="FrozenBN")
        self.backbone = ResNet(stem, [stage(0, 1), stage(1, 2), stage(2, 2)], out_features=["res4"])
        self.proposal_generator = RPN(
            in_features=["res4"],
            head=StandardRPNHead(in_channels=a.outer * 4, num_anchors=recipe.anchors, conv_dims=(a.rpn_hidden,)),
            anchor_generator=DefaultAnchorGenerator(
                sizes=[list(recipe.anchor_sizes)],
                aspect_ratios=[list(recipe.anchor_ratios)],
                strides=[STRIDE],
                offset=0.0,
            ),
            anchor_matcher=None,  # only for training
            box2box_transform=Box2BoxTransform(recipe.rpn_weights),
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_topk=(recipe.pre_nms, recipe.pre_nms),
            post_nms_topk=(recipe.post_nms, recipe.post_nms),
            nms_thresh=recipe.rpn_nms,
            min_box_size=recipe.min_side,
        )
        self.pooler = ROIPooler(
            output_size=recipe.pooled,
            scales=(1 / STRIDE,),
            sampling_ratio=2,
            pooler_type="ROIPool" if recipe.pooler == "roi-pool" else "ROIAlignV2",
        )
        self.roi_heads = nn.Module()
        self.roi_heads.res5 = nn.Sequential(*stage(3, recipe.res5_stride, recipe.res5_dilation))
        self.roi_heads.box_predictor = AttributePredictor(a, recipe)
        state = dict(network.state_dict())
        state.pop(ANCHORS)  # detectron2 keeps anchors out of its state
        self.load_state_dict(state)
        for own in self.proposal_generator.anchor_generator.cell_anchors.buffers():
            own.copy_(network.anchors)
        self.requires_grad_(False)
        self.eval()


class Detectron2Detector:
    """The detector of detectron2's parts, for one image at a time; called as `Detector` is.

    Args:
        network: the weights, with norms that are not folded.
        selection: the rule by which regions are kept.
        device: the device of the layers.

    Raises:
        ValueError: detectron2 has no parts for the recipe.
    """

    def __init__(self, network: FasterRCNN, selection: RegionSelection, *, device: torch.device) -> None:
        recipe = network.recipe
        if recipe.plus_one or recipe.background == "first" or recipe.rpn_score == "softmax":
            raise ValueError(
                f"detectron2 has no parts for the recipe {recipe.name} (box widths + 1, two scores an anchor): use the"
                " backend itin for it"
            )
        self.recipe, self.selection, self.device = recipe, selection, device
        self.model: Any = Detectron2Model(network).to(device)

    def __call__(self, images: Sequence[PreparedImage]) -> list[dict[str, np.ndarray]]:
        """Return a dict of arrays for each image, in order: see `itin.extract.encoders.contract.ImageEncoder`."""
        with torch.inference_mode(), matmul_precision():
            return [self.detect(image) for image in images]

    def detect(self, image: PreparedImage) -> dict[str, np.ndarray]:
        """Return the arrays of one image."""
        model, predictor = self.model, self.model.roi_heads.box_predictor
        batch = ImageList(image.pixels[None].to(self.device), [image.size])
        features = model.backbone(batch.tensor)
        proposals: list[Instances] = model.proposal_generator(batch, features)[0]
        boxes: Boxes = proposals[0].proposal_boxes
        x = model.roi_heads.res5(model.pooler([features["res4"]], [boxes])).mean((2, 3))
        predictions = predictor(x)
        probabilities = predictor.predict_probs(predictions, proposals)[0][:, :-1]
        attribute_scores, attributes = predictor.attributes(x, predictions[0]).max(1)
        shape = (*probabilities.shape, 4)
        regressed = Boxes(predictor.predict_boxes(predictions, proposals)[0].reshape(-1, 4))
        regressed.clip(image.size)
        object_scores, objects = probabilities.max(1)
        every = torch.arange(len(boxes), device=self.device)
        scores, rows = self.select(probabilities, regressed.tensor.view(shape), objects)
        out = Boxes(regressed.tensor.view(shape)[every, objects][rows])
        out.scale(*image.to_original)
        out.clip(image.original)
        found = {
            "regions": x[rows],
            "boxes": out.tensor,
            "scores": scores[rows],
            "objects": objects[rows].to(torch.int32),
            "object_scores": object_scores[rows],
            "attributes": attributes[rows].to(torch.int32),
            "attribute_scores": attribute_scores[rows],
        }
        return {name: values.cpu().numpy() for name, values in found.items()}

    def select(self, probabilities: Tensor, boxes: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Return each proposal's score (R,) and the rows that are kept, best first.

        Args:
            probabilities: (R, classes).
            boxes: (R, classes, 4).
            objects: (R,) the most probable class.
        """
        rule, (number, classes) = self.selection, probabilities.shape
        if rule.rule == "hf":
            scores = probabilities.max(1).values
            own = boxes[torch.arange(number, device=self.device), objects]
            kept = objects[:0]
            for threshold in rule.agnostic_nms:
                kept = batched_nms(own, scores, torch.zeros_like(objects), threshold)
                if len(kept) >= max(rule.least, 1):
                    break
            return scores, kept[: rule.max_regions]
        labels = torch.arange(classes, device=self.device).repeat(number)
        flat = probabilities.flatten()
        kept = batched_nms(boxes.reshape(-1, 4), flat, labels, rule.class_nms)
        scores = flat.new_zeros(number).scatter_reduce(0, kept // classes, flat[kept], "amax")
        enough = min(max(int((scores >= rule.threshold).sum()), rule.least), rule.max_regions)
        return scores, scores.argsort(descending=True, stable=True)[:enough]
