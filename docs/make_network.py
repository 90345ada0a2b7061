"""Draw the paper's Fig. 3, the network, as docs/concepts/network.svg: `python docs/make_network.py`."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

OUT = Path(__file__).parent / "concepts" / "network.svg"
WIDTH, HEIGHT = 1080, 470

STYLE = """
svg { color-scheme: light dark; --ink: #1f2430; --soft: #5b6372; --paper: #ffffff;
  --image: #dce9fb; --text: #fdebd0; --both: #e3f2df; --out: #eee3f7; }
@media (prefers-color-scheme: dark) { svg { --ink: #e6e8ee; --soft: #a5adbb; --paper: #1b1f27;
  --image: #22406b; --text: #6b4a1b; --both: #2c5a2b; --out: #4c3266; } }
.paper { fill: var(--paper); }
text { font: 15px system-ui, sans-serif; fill: var(--ink); text-anchor: middle; dominant-baseline: central; }
text.small { font-size: 12.5px; fill: var(--soft); }
rect.box { stroke: var(--soft); stroke-width: 1; rx: 8px; }
.image { fill: var(--image); } .text { fill: var(--text); } .both { fill: var(--both); } .out { fill: var(--out); }
path { fill: none; stroke: var(--soft); stroke-width: 1.6; marker-end: url(#tip); }
marker path { fill: var(--soft); stroke: none; }
"""

BOXES = {
    # name: (x, y, width, height, kind, title, what stands below it)
    "f": (20, 60, 120, 62, "image", "regions f", "m vectors"),
    "x": (20, 200, 120, 62, "text", "words x", "n vectors"),
    "v": (20, 372, 120, 62, "image", "context V", "the whole image"),
    "r": (190, 60, 120, 62, "image", "r = W f + b", "eq. 1"),
    "w": (190, 200, 120, 62, "text", "BiGRU: w", "eqs. 2-4"),
    "s": (190, 296, 120, 58, "text", "S: mean of w", "eq. 15"),
    "a": (360, 130, 140, 62, "both", "alignment Ā", "eqs. 5-6"),
    "u": (360, 222, 140, 62, "both", "u = Ā w", "eq. 7"),
    "g": (550, 130, 130, 62, "both", "gate: g [r, u]", "eqs. 8-9"),
    "z": (550, 40, 130, 62, "both", "z = o + r", "eqs. 10-11"),
    "c": (730, 40, 120, 62, "both", "C = Σ α z", "eqs. 12-13"),
    "f1": (730, 372, 120, 62, "image", "F₁: V with C", "eq. 16"),
    "f2": (730, 222, 120, 62, "text", "F₂: S with C", "eq. 17"),
    "mix": (900, 296, 160, 62, "out", "λ F₁ + (1 − λ) F₂", "eq. 18"),
    "y": (900, 40, 160, 62, "out", "classes", "eqs. 19-20"),
}

ARROWS = [
    "M140 91 H184", "M140 231 H184", "M140 403 H724", "M310 91 H530 V71 H544", "M250 262 V290",
    "M310 231 H335 V176 H354", "M340 91 V148 H354", "M430 192 V216", "M310 246 H354",
    "M500 253 H615 V198", "M615 130 V108", "M680 71 H724", "M790 102 V216",
    "M310 325 H700 V268 H724", "M820 102 V150 H870 V403 H856", "M850 253 H880 V318 H894",
    "M790 372 V340 H894", "M980 296 V108", "M520 91 V161 H544",
]  # fmt: skip


def main() -> None:
    """Write the drawing."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" width="{WIDTH}">',
        "<title>The image-text interaction network</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>',
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>',
        *(f'<path d="{arrow}"/>' for arrow in ARROWS),
    ]
    for x, y, width, height, kind, title, note in BOXES.values():
        middle = x + width / 2
        parts += [
            f'<rect class="box {kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>',
            f'<text x="{middle:g}" y="{y + height / 2 - 9:g}">{escape(title)}</text>',
            f'<text class="small" x="{middle:g}" y="{y + height / 2 + 13:g}">{escape(note)}</text>',
        ]
    OUT.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
