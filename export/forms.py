"""The forms that a head is exported in. Imports no torch, so that a command line can list them at once."""

from __future__ import annotations

FORMS = {
    "onnx": "a graph for ONNX Runtime and other tools, from padded features to probabilities",
    "safetensors": "weights and JSON, which `itin predict` and `from_pretrained` read",
}
"""The forms by name."""
