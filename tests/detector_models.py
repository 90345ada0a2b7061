"""Tiny models of transformers' detectors, of the real architectures, with seeded weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

CLASSES = {0: "cat", 1: "dog", 2: "kite"}


def resnet(stages: int = 3) -> Any:
    return transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 12, 16, 24][-stages:],
        depths=[1] * stages,
        layer_type="basic",
        out_features=[f"stage{stage}" for stage in range(1, stages + 1)],
    )


def detr_sizes(**more: Any) -> dict[str, Any]:
    return {
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 24,
        "decoder_ffn_dim": 24,
        "num_queries": 20,
        "use_timm_backbone": False,
        "use_pretrained_backbone": False,
        "backbone": None,
        "backbone_config": resnet(),
        **more,
    }


def rt_sizes(config: Any, backbone: Any, **more: Any) -> Any:
    return config(
        backbone_config=backbone,
        d_model=16,
        encoder_hidden_dim=16,
        encoder_in_channels=[16, 24, 32],
        decoder_in_channels=[16, 16, 16],
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        decoder_layers=2,
        num_queries=20,
        id2label=CLASSES,
        **more,
    )


def rt_resnet() -> Any:
    return transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip


def hgnet() -> Any:
    return transformers.HGNetV2Config(
        embedding_size=8, stem_channels=[3, 8, 8], hidden_sizes=[8, 16, 24, 32], depths=[1] * 4,
        stage_in_channels=[8, 8, 16, 24], stage_mid_channels=[4, 8, 8, 8], stage_out_channels=[8, 16, 24, 32],
        stage_num_blocks=[1] * 4, stage_downsample=[False, True, True, True],
        stage_light_block=[False, False, True, True], stage_kernel_size=[3] * 4, stage_numb_of_layers=[2] * 4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip


def owlv2() -> Any:
    layer = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    text = {**layer, "hidden_size": 12, "vocab_size": 20, "bos_token_id": 18, "eos_token_id": 19}
    vision = {**layer, "hidden_size": 16, "image_size": 64, "patch_size": 16}
    return transformers.Owlv2Config(text_config=text, vision_config=vision, projection_dim=12)


HEADS = (
    "class_labels_classifier", "class_embed", "bbox_embed", "bbox_predictor", "score_head", "query_position",
    "detection_tokens",
)  # fmt: skip
"""Parts of the names of parameters that decide classes and boxes."""

SHORT = {"size": {"shortest_edge": 48, "longest_edge": 80}}
"""Sizes of images: the shorter side, and the most that the longer one may have."""


def parts(family: str) -> tuple[Any, Any]:
    """Return the configuration and the image processor of a family's tiny model."""
    t = transformers
    if family == "detr":
        return t.DetrConfig(**detr_sizes(id2label=CLASSES)), t.DetrImageProcessor(**SHORT)
    if family == "conditional_detr":
        return t.ConditionalDetrConfig(**detr_sizes(id2label=CLASSES)), t.ConditionalDetrImageProcessor(**SHORT)
    if family == "deformable_detr":
        sizes = detr_sizes(id2label=CLASSES, d_model=32, num_feature_levels=3, encoder_n_points=2, decoder_n_points=2)
        return t.DeformableDetrConfig(**sizes), t.DeformableDetrImageProcessor(**SHORT)
    square = t.RTDetrImageProcessor(size={"height": 64, "width": 64})
    if family == "rt_detr":
        return rt_sizes(t.RTDetrConfig, rt_resnet()), square
    if family == "rt_detr_v2":
        return rt_sizes(t.RTDetrV2Config, rt_resnet()), square
    if family == "d_fine":
        return rt_sizes(t.DFineConfig, hgnet()), square
    if family == "yolos":
        config = t.YolosConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=[48, 80],
            patch_size=8, num_detection_tokens=20, id2label=CLASSES,
        )  # fmt: skip
        return config, t.YolosImageProcessor(**SHORT)
    return owlv2(), t.Owlv2ImageProcessor(size={"height": 64, "width": 64})


def make(family: str, folder: Path, seed: int = 0) -> Path:
    """Save a family's tiny model with seeded weights, as the hub holds models, and return its folder."""
    config, processor = parts(family)
    auto = transformers.AutoModelForObjectDetection
    loader = transformers.AutoModelForZeroShotObjectDetection if family == "owlv2" else auto
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = loader.from_config(config)
    for name, parameter in model.named_parameters():  # so that one query differs from another
        if name.startswith("objectness_head.dense2"):
            parameter.data.mul_(0.05)
        elif parameter.dim() > 1 and family != "owlv2" and any(head in name for head in HEADS):
            parameter.data.normal_(0, 0.5, generator=generator)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
