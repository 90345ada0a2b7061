"""Eqs. 2-4 with kernels in Triton: in its interpreter, and the kernels compiled for two kinds of GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", "3.3", reason="needs Triton, which comes with torch on Linux, from 3.3 on (torch 2.7)")

COMPARE = """
import itertools, json, sys
import torch
from itin.itin_head import HeadConfig, ITINHead
from itin.itin_head.gru.recurrence import bigru, weights
from itin.itin_head.gru.packing import gather_words, pack_words
from itin.itin_head.side_by_side import SideBySide

torch.manual_seed(0)
worst = {}


def compare(name, ways):
    '''The largest difference, as a share of the largest value, of two lists of tensors.'''
    one, other = ways
    shares = [(a - b).abs().max().item() / max(a.abs().max().item(), 1e-3) for a, b in zip(one, other, strict=True)]
    worst[name] = max(worst.get(name, 0.0), *shares)


def results(W, parameters):
    for parameter in parameters:
        parameter.grad = None
    (W * torch.arange(1.0, W.numel() + 1).cos().view_as(W)).sum().backward()
    return [W.detach(), *(parameter.grad.clone() for parameter in parameters)]


for lengths, d in itertools.product(([4, 1, 7, 0, 3], [1], [5, 5, 5], [0, 1, 0, 2], [0, 0]), (3, 20)):
    n = max(*lengths, 1)
    mask = torch.arange(n) < torch.tensor(lengths)[:, None]
    for dtype in (torch.float64, torch.float32):
        gru = torch.nn.GRU(5, d, batch_first=True, bidirectional=True, dtype=dtype)
        words = pack_words(torch.randn(len(lengths), n, 5, dtype=dtype), mask)
        parameters = list(gru.parameters())
        ways = [results(bigru(words.x, words.packing, *weights(gru), recurrence=way), parameters)
                for way in ("packed", "fused")]
        compare(str(dtype), ways)
        if dtype == torch.float32:
            with torch.autocast("cpu", torch.bfloat16):
                W = bigru(words.x, words.packing, *weights(gru), recurrence="fused")
            assert W.dtype == torch.bfloat16
            compare("bfloat16", (ways[0], results(W.float(), parameters)))

dims = {"region_dim": 7, "token_dim": 5, "context_dim": 6, "classes": 3, "d": 4, "k": 3, "hidden": 5}
heads = [ITINHead(HeadConfig(lam=j / 3, **dims)) for j in range(3)]
lengths = torch.tensor([[4, 6, 0], [1, 2, 3], [5, 5, 1]])
values = torch.randn(int(lengths.sum()), 5)
offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.flatten().cumsum(0)])
words = gather_words(values, offsets, torch.arange(9).view(3, 3))
regions, context = torch.randn(3, 3, 2, 7), torch.randn(3, 3, 6)
ways = []
for way in ("packed", "fused"):
    stack = SideBySide(heads, way)
    ways.append(results(stack(regions, words, context, torch.ones(3, 3, 2).bool()), list(stack.parameters())))
compare("side by side", ways)

# In static shapes there are places without a word, and steps in which one of the heads has no text left.
from itin.train.cuda_graphs import StaticShape

static = torch.tensor([[9, 4, 3, 0], [3, 2, 1, 1], [6, 6, 6, 6]])
shape = StaticShape.of(static.amax(0), torch.device("cpu"))
packing, numbers = shape.pack(static)
x = torch.randn(6, packing.rows, 5).masked_fill((numbers < 0).view(6, -1, 1), 0)
weights_of = [torch.randn(6, *size).mul(0.5).requires_grad_() for size in ((60, 5), (60, 20), (60,), (60,))]
ways = []
for way, autocast in (("packed", False), ("fused", False), ("fused", True)):
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        W = bigru(x, packing, *weights_of, recurrence=way)
    ways.append(results(W.float(), weights_of))
compare("static", ways[:2])
compare("bfloat16", (ways[0], ways[2]))
from itin.itin_head.gru.choose import fused_failure

assert fused_failure(torch.device("cpu")) is None
json.dump(worst, sys.stdout)
"""

COMPILE = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from itin.itin_head.gru import triton_cell, triton_mean

NUMBERS = {"P", "begin", "last", "b", "d", "most", "later"}
PLACES = {"forward", "backward", "padded"}
LOW = {"inputs", "sums", "gates", "q", "h_product", "delta", "grad_inputs", "before_product", "flow", "W"}
sizes = {}


def compile(kernel, capability, high, low, constants):
    types = {
        name: "constexpr" if name in constants else "i32" if name in NUMBERS else "*i64" if name in PLACES else
        "*fp32" if name == "words" else "*" + (low if name in LOW else high) for name in kernel.arg_names
    }
    source = ASTSource(kernel, signature=types, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    sizes[f"{capability} {low} {constants} {kernel.__name__}"] = len(made.asm["cubin"])


for capability in (80, 90):
    for high, low in (("fp32", "fp32"), ("fp32", "bf16"), ("fp64", "fp64")):
        for first in (True, False):
            constants = {"FIRST": first, "BLOCK": triton_cell.block_of(1024)}
            compile(triton_cell._cell, capability, high, low, {"LOW": low != high, **constants})
            compile(triton_cell._cell_back, capability, high, low, constants)
        for kernel in (triton_mean._mean, triton_mean._mean_back):
            compile(kernel, capability, high, low, {"SOME": True, "BLOCK": 1024})
json.dump(sizes, sys.stdout)
"""


def run(script: str, folder: Path, **environment: str) -> dict[str, float]:
    """What a script of its own process prints: Triton reads its environment when it is imported."""
    variables = {**os.environ, "TRITON_CACHE_DIR": str(folder), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.long
def test_equals_packed(tmp_path: Path) -> None:
    """Values and gradients, which of `packed` are held equal to `torch.nn.GRU`."""
    worst = run(COMPARE, tmp_path, TRITON_INTERPRET="1")
    assert worst.pop("torch.float64") < 1e-12
    assert worst.pop("torch.float32") < 1e-5
    assert worst.pop("side by side") < 1e-5
    assert worst.pop("static") < 1e-5
    assert 1e-4 < worst.pop("bfloat16") < 5e-2  # 8 bits; and they are used at all
    assert not worst


@pytest.mark.long
def test_kernels_compile(tmp_path: Path) -> None:
    """For the A100's kind and the H100's, which Triton's own assembler does without a GPU."""
    sizes = run(COMPILE, tmp_path, TRITON_INTERPRET="0")
    assert len(sizes) == 36
    assert min(sizes.values()) > 1000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("d", [40, 256])
@pytest.mark.parametrize("texts", [3, 40, 100])
def test_bfloat16_on_a_device(d: int, texts: int) -> None:
    """Fused cells and means beside those in PyTorch, both in bfloat16, in shapes with places that hold no word."""
    from itin.itin_head.gru.recurrence import bigru
    from itin.train.cuda_graphs import StaticShape

    torch.manual_seed(0)
    lengths = (
        torch.randint(0, 30, (3, texts)).sort(dim=1, descending=True).values.clamp(max=torch.tensor([[30], [4], [9]]))
    )
    shape = StaticShape.of(lengths.amax(0) + 2, torch.device("cuda"))
    packing, numbers = shape.pack(lengths.cuda())
    x = torch.randn(6, packing.rows, 48).cuda().masked_fill((numbers < 0).view(6, -1, 1), 0)
    sizes = (6, 3 * d, 48), (6, 3 * d, d), (6, 3 * d), (6, 3 * d)
    weights = [torch.randn(size).mul(0.1).cuda().requires_grad_() for size in sizes]
    results = []
    for way, precision in (("packed", None), ("packed", torch.bfloat16), ("fused", torch.bfloat16)):
        with torch.autocast("cuda", precision or torch.bfloat16, enabled=precision is not None):
            W = bigru(x, packing, *weights, recurrence=way).float()
        loss = (W * torch.arange(1.0, W.numel() + 1, device="cuda").cos().view_as(W)).sum()
        results.append([W.detach(), *torch.autograd.grad(loss, weights)])
    for exact, plain, fused in zip(*results, strict=True):
        error, own = ((exact - each).norm() / exact.norm() for each in (plain, fused))
        assert 1e-4 < own < max(2 * error, 0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equals_packed_on_a_device(dtype: torch.dtype) -> None:
    from itin.itin_head.gru.choose import fused_failure
    from itin.itin_head.gru.packing import pack_words
    from itin.itin_head.gru.recurrence import bigru, weights

    assert fused_failure(torch.device("cuda")) is None
    torch.manual_seed(0)
    lengths = torch.randint(0, 40, (64,))
    mask = torch.arange(40) < lengths[:, None]
    gru = torch.nn.GRU(48, 200, batch_first=True, bidirectional=True, dtype=dtype, device="cuda")
    words = pack_words(torch.randn(64, 40, 48, dtype=dtype).cuda(), mask.cuda())
    results = []
    for way in ("packed", "fused"):
        gru.zero_grad(set_to_none=True)
        W = bigru(words.x, words.packing, *weights(gru), recurrence=way)
        (W * torch.arange(1.0, W.numel() + 1, dtype=dtype, device="cuda").cos().view_as(W)).sum().backward()
        results.append([W.detach(), *(parameter.grad for parameter in gru.parameters())])
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for one, other in zip(*results, strict=True):
        assert one is not None
        assert other is not None
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * float(one.abs().max()))
