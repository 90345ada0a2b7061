"""Rates of encoders by name beside the library's plain forward pass on the same inputs.

    python tests/bench/encoders.py --images FOLDER --vision openai/clip-vit-base-patch32 --text bert-base-uncased

Each round runs the plain form and then ours; the ratio is the median over rounds, so that a neighbour on the machine
disturbs both alike. Preparing (decoding, resizing) is not part of either, and printed beside. The plain form has its
inputs on the device's host as ours has, and brings its outputs back there: the tokens or the map, and the pooled
vector. That of a text model starts from ids, while ours starts from texts.

For a vision encoder that is not the library's own, `--timm ARCHITECTURE` names the timm model that stands for it.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from detector import seconds, texts_of  # type: ignore[import-not-found]  # beside this file
from torch.nn.utils.rnn import pad_sequence

from itin.device import matmul_precision
from itin.extract.config import EncoderConfig
from itin.extract.data.images import read_image
from itin.extract.encoders.build import build_encoder

Clock = Callable[[], float]


def compare(title: str, count: int, plain: Callable[[], object], ours: Callable[[], object], options: Any) -> None:
    """Print rates and their ratio, of work on `count` inputs."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(options.rounds + 1):
        for form, kept in zip((plain, ours), times, strict=True):
            kept.append(seconds(form, options.device, options.clock))
    rates = [count / statistics.median(kept[1:]) for kept in times]
    ratios = [one / two for one, two in zip(times[0][1:], times[1][1:], strict=True)]
    print(
        f"{title}: the library {rates[0]:8.1f} a second, ours {rates[1]:8.1f}; ratio {statistics.median(ratios):.2f}"
        f" (rounds: {', '.join(f'{ratio:.2f}' for ratio in ratios)})"
    )


def vision(name: str, options: Any) -> None:
    """Compare the regions, the context, and both in one forward pass of one vision model."""
    config = EncoderConfig(
        regions=name, context_encoder=name, random_init=options.random_init, compute_dtype=options.compute_dtype
    )
    size = {"batch_size": options.batch_size}
    made: list[Any] = [build_encoder(kind, config, options.device, **size) for kind in ("regions", "context")]
    regions, context = made
    files = sorted(file for file in options.images.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    files = (files * -(-options.number // len(files)))[: options.number]
    images = [read_image(file) for file in files]
    prepared = [regions.prepare(image) for image in images]
    decode = seconds(lambda: [read_image(file) for file in files], options.device, options.clock)
    resize = seconds(lambda: [regions.prepare(image) for image in images], options.device, options.clock)

    model = plain_model(name, regions, options)
    batch = regions.batch_size
    parts = [prepared[start : start + batch] for start in range(0, len(prepared), batch)]

    def plain() -> list[Any]:
        return [model([one.pixels for one in part]) for part in parts]

    def run(*encoders: Any) -> Callable[[], list[Any]]:
        def work() -> list[Any]:
            made = []
            for part in parts:
                fresh = [dataclasses.replace(one, outputs=None) for one in part]
                made += [encoder.encode(fresh) for encoder in encoders]
            return made

        return work

    print(f"{name}: {len(images)} images, batch {batch}, {options.device}, {options.compute_dtype}")
    for title, encoders in (("regions", (regions,)), ("context", (context,)), ("both", (regions, context))):
        compare(f"  {title:>7}", len(images), plain, run(*encoders), options)
    print(f"  decoding {len(images) / decode:.1f} a second, preparing {len(images) / resize:.1f}, in one thread")


def plain_model(name: str, encoder: Any, options: Any) -> Callable[[Sequence[torch.Tensor]], Any]:
    """Return the library's forward pass on a list of inputs."""
    device, enabled = options.device, options.compute_dtype == "bfloat16"
    if options.timm is not None:
        import timm

        network: Any = timm.create_model(options.timm, pretrained=False, num_classes=0).eval().to(device)

        def forward(pixels: torch.Tensor, *more: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = network.forward_features(pixels)
            return features, network.forward_head(features)

    else:
        config = transformers.AutoConfig.from_pretrained(name)
        config = getattr(config, "vision_config", None) or config
        network = transformers.AutoModel.from_config(config).eval().to(device)

        def forward(pixels: torch.Tensor, *more: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            output = network(pixels, *more)
            return output.last_hidden_state, output.pooler_output

    @torch.inference_mode()
    def run(pixels: Sequence[torch.Tensor]) -> Any:
        given: tuple[torch.Tensor, ...]
        if pixels[0].shape[0] != 3:  # NaFlex: rows x columns patches, padded to one length
            patches = [one.flatten(0, 1) for one in pixels]
            mask = [torch.ones(len(one), dtype=torch.int32) for one in patches]
            shapes = torch.tensor([one.shape[:2] for one in pixels])
            given = pad_sequence(patches, True), pad_sequence(mask, True), shapes
        else:
            given = (torch.stack(list(pixels)),)
        with matmul_precision(), torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            return [one.float().cpu() for one in forward(*(one.to(device) for one in given)) if one is not None]

    return run


def text(name: str, options: Any) -> None:
    """Compare the tokens of one text model, on batches of similar lengths."""
    config = EncoderConfig(
        text_encoder=name, random_init=options.random_init, compute_dtype=options.compute_dtype, max_tokens=100
    )
    encoder: Any = build_encoder("tokens", config, options.device, batch_size=options.batch_size)
    texts = sorted(texts_of(options.images, options.number), key=len)
    batch, enabled = encoder.batch_size, options.compute_dtype == "bfloat16"
    tokenizer = transformers.AutoTokenizer.from_pretrained(options.library or name)
    network = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(options.library or name))
    network.eval().to(options.device)
    by_length = sorted(texts, key=lambda one: len(tokenizer(one)["input_ids"]))
    inputs = [
        tokenizer(by_length[i : i + batch], return_tensors="pt", padding=True, truncation=True, max_length=102)
        for i in range(0, len(texts), batch)
    ]

    @torch.inference_mode()
    def plain() -> list[np.ndarray]:
        with matmul_precision(), torch.autocast(options.device.type, torch.bfloat16, enabled=enabled):
            return [network(**one.to(options.device)).last_hidden_state.float().cpu().numpy() for one in inputs]

    print(f"{name}: {len(texts)} texts, batch {batch}, {options.device}, {options.compute_dtype}")
    compare("   tokens", len(texts), plain, lambda: encoder.encode(texts), options)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=Path, required=True, help="folder of JPEG or PNG files, with texts beside them"
    )
    parser.add_argument("--vision", nargs="*", default=[], help="vision models by name or folder")
    parser.add_argument("--text", nargs="*", default=[], help="text models by name or folder")
    parser.add_argument("--timm", help="timm architecture that stands for the vision models")
    parser.add_argument("--library", help="folder of the library's form of the text models, if they have another name")
    parser.add_argument("--number", type=int, default=64, help="images or texts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--compute-dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--random-init", type=int, help="seed of random weights, where only config.json is there")
    parser.add_argument("--threads", type=int, help="threads of the CPU")
    parser.add_argument("--cpu-time", action="store_true", help="processor time instead of wall time")
    options = parser.parse_args()
    options.clock = time.process_time if options.cpu_time else time.perf_counter
    if options.threads:
        torch.set_num_threads(options.threads)
    for name in options.vision:
        vision(name, options)
    for name in options.text:
        text(name, options)


if __name__ == "__main__":
    main()
