"""Seeded random weights, for runs and tests without a checkpoint."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .network import ConvNorm, FasterRCNN, FrozenNorm

GAIN = 3.0
"""Variance of a filter times its inputs. Filters have zero mean, which removes what all positions have in common and
with it some variance: with 2, the usual gain, regions hardly differ; with 4, ResNet-101's values leave the range."""


def randomize(network: FasterRCNN, seed: int) -> FasterRCNN:
    """Fill a network with seeded random weights under which activations stay finite and scores spread.

    The layers are filled in the order of their names, from one generator, so that a seed means the same weights
    everywhere. The anchors stay the recipe's.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: Tensor, std: float) -> None:
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * std)

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    def filters(weight: Tensor, gain: float) -> None:
        normal(weight, (gain / weight[0].numel()) ** 0.5)
        weight -= weight.flatten(1).mean(1).view(-1, *[1] * (weight.dim() - 1))

    with torch.no_grad():
        for name, module in sorted(network.named_modules()):
            if isinstance(module, ConvNorm):
                filters(module.weight, GAIN)
            elif isinstance(module, FrozenNorm):
                last = name.endswith(".conv3.norm")  # what each block adds to its shortcut
                uniform(module.weight, 0.2 if last else 0.8, 0.4 if last else 1.2)
                normal(module.bias, 0.1)
                normal(module.running_mean, 0.1)
                uniform(module.running_var, 0.8, 1.2)
            elif isinstance(module, nn.Linear | nn.Conv2d):
                filters(module.weight, 2.0)
                if module.bias is not None:
                    normal(module.bias, 0.1)
            elif isinstance(module, nn.Embedding):
                normal(module.weight, 1.0)
        network.backbone.stem.conv1.weight.div_(64)  # standard deviation of pixels
        network.proposal_generator.rpn_head.anchor_deltas.weight *= 0.1
        predictor = network.roi_heads.box_predictor
        predictor.bbox_pred.weight *= 0.05 * network.recipe.box_weights[0]
        predictor.cls_score.weight *= 2.5
        predictor.attr_score.weight *= 2.0
    return network
