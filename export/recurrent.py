"""GRU and LSTM on padded texts, recorded as the operators that ONNX has for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

ORDERS = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
"""ONNX's order of the gates by PyTorch's: z, r, n out of r, z, n; and i, o, f, g out of i, f, g, o."""


class Recurrent(nn.Module):
    """A GRU or LSTM of PyTorch, one operator a layer where it is traced: its own steps would be those of the trace.

    Args:
        layers: the module, whose weights are copied.
    """

    def __init__(self, layers: nn.RNNBase) -> None:
        super().__init__()
        self._layers = (layers,)  # in a tuple, so that PyTorch's weights do not enter the graph too
        ways = ("", "_reverse") if layers.bidirectional else ("",)
        for layer in range(layers.num_layers):
            for name in ("weight_ih", "weight_hh"):
                self._keep(name, layer, [_ordered(layers, f"{name}_l{layer}{way}") for way in ways])
            biases = [
                torch.cat([_ordered(layers, f"bias_{side}_l{layer}{way}") for side in ("ih", "hh")]) for way in ways
            ]
            self._keep("bias", layer, biases)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the states (B, n, directions * size), zero at padding.

        Args:
            x: (B, n, input size), zero at padding; n is at least 1.
            mask: (B, n) bool, words first.
        """
        lengths = mask.long().sum(1).clamp(min=1)  # a text without words takes a step, whose state is masked
        states: Tensor = _States.apply(x, lengths, self._layers[0], *self.buffers())
        return states.masked_fill(~mask[..., None], 0)

    def _keep(self, name: str, layer: int, ways: list[Tensor]) -> None:
        self.register_buffer(f"{name}_{layer}", torch.stack(ways))


class _States(torch.autograd.Function):
    """The states of all layers, (B, n, directions * size)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lengths: Tensor, layers: nn.RNNBase, *weights: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        own: Any = nn.GRU if layers.mode == "GRU" else nn.LSTM  # not `layers.lstm.LSTM`, which takes a mask
        found, _ = own.forward(layers, packed)
        return pad_packed_sequence(found, batch_first=True, total_length=x.shape[1])[0]

    @staticmethod
    def symbolic(g: Any, x: Any, lengths: Any, layers: nn.RNNBase, *weights: Any) -> Any:
        """Record the operators, with weights of each layer: W, R and B of ONNX."""
        more: dict[str, Any] = {"linear_before_reset_i": 1} if layers.mode == "GRU" else {}
        more["direction_s"] = "bidirectional" if layers.bidirectional else "forward"
        lengths = g.op("Cast", lengths, to_i=6)  # int32
        values = g.op("Transpose", x, perm_i=[1, 0, 2])  # (n, B, size)
        join = g.op("Constant", value_t=torch.tensor([0, 0, -1]))
        for layer in range(layers.num_layers):
            W, R, B = weights[3 * layer : 3 * layer + 3]
            outputs = 2 if layers.mode == "GRU" else 3
            states, *_ = g.op(
                layers.mode, values, W, R, B, lengths, hidden_size_i=layers.hidden_size, outputs=outputs, **more
            )  # (n, directions, B, size)
            values = g.op("Reshape", g.op("Transpose", states, perm_i=[0, 2, 1, 3]), join)
        return g.op("Transpose", values, perm_i=[1, 0, 2])


def _ordered(layers: nn.RNNBase, name: str) -> Tensor:
    """Return a weight with its gates in ONNX's order."""
    parts = getattr(layers, name).detach().chunk(len(ORDERS[layers.mode]))
    return torch.cat([parts[place] for place in ORDERS[layers.mode]])
