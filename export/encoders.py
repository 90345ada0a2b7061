"""Which encoders a head stands beside: names, revisions and preprocessing of the features that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..train.runs.folder import Run

FILE = "encoders.json"


def encoders_of(run: Run) -> dict[str, dict[str, Any]]:
    """Return what made each kind of feature that a run's head reads: encoder, weights, preprocessing, sizes, dtype."""
    found = {}
    for kind in sorted(run.inputs):
        identity = run.record["stores"][kind]["identity"]
        found[kind] = {
            "encoder": identity["name"],
            "weights": identity["weights"],
            "preprocessing": identity["preprocessing"],
            "dims": identity["dims"],
            "dtype": identity["dtype"],
            "fingerprint": run.record["stores"][kind]["fingerprint"],
        }
    return found


def lines_of(encoders: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the encoders as a table in Markdown, and what their features become before the head reads them."""
    yield "| features | encoder | weights | length | preprocessing |"
    yield "|---|---|---|---|---|"
    for kind, one in encoders.items():
        cells = [kind, f"`{one['encoder']}`", _words(one["weights"]), str(one["dims"]["feature"])]
        yield f"| {' | '.join([*cells, _words(one['preprocessing'])])} |"
    rounded = [kind for kind, one in encoders.items() if one["dtype"] != "float32"]
    if rounded:
        dtypes = sorted({encoders[kind]["dtype"] for kind in rounded})
        yield f"\nThe head was trained on features of {', '.join(rounded)} rounded to {' and '.join(dtypes)}."


def _words(values: Mapping[str, Any]) -> str:
    """Return a record in one line, digests by their first 12 digits."""
    told = {name: value[:12] if name.endswith("sha256") else value for name, value in values.items() if value}
    return ", ".join(f"{name} {str(value).replace('|', '/')}" for name, value in told.items()) or "none"
