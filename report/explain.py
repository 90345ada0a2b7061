"""Fig. 7 for any pair: the image with outlined regions and, for each, its gate and the words shaded by weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import RunError
from ..predict.pairs import Pair, pairs_frame
from ..predict.prediction import SPECIAL, Prediction, Region
from ..predict.words import segments
from .browser import RunPairs, pairs_data
from .page.colors import SHADE, over, region_color, strength
from .page.html import Page, iframe, make_folder, page_html, write_page
from .page.plot import missing_glyphs, save
from .page.section import Section
from .thumbnails import Images, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from ..predict import Predictor

ENDINGS = (".png", ".pdf", ".svg", ".html")

WIDTH = 7.2
"""Width of the figure in inches: the two columns of a page."""

IMAGE_WIDTH = 2.9
"""Width of the image in the figure, in inches."""

PAGE_SIDE = 900
"""The longer side of the image on a page, in pixels."""

ATTENDED = "#5b6770"
"""The colour of words that the head attends to by themselves, for no region."""

_GAP, _MARGIN, _LINE, _SIZE = 0.25, 0.12, 0.235, 9.0

_DPI = 1440
"""Resolution for measuring text, in dots per inch; at a low one each letter is rounded to whole dots."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """A pair and the prediction of a head for it."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    pair: Pair
    note: str | None = None
    """A note that must accompany every figure of the run, or None."""
    span: tuple[float, float] | None = None
    """The span of the run's target if it is a number, or None."""

    @classmethod
    def of(cls, pair: Pair, images: Images, note: str | None = None) -> Explanation:
        """Explain a pair, for example one from `pairs_of`.

        Raises:
            RunError: its image is missing or has changed.
        """
        image = images.read(pair)
        if isinstance(image, str):
            raise RunError(
                f"the image of pair {pair.id} cannot be shown: {image}",
                expected=f"{pair.image}, as it was when its features were made",
                next_step="name the folder of the images with --images",
            )
        return cls(image, pair, note)

    @property
    def prediction(self) -> Prediction:
        """Label, probabilities and regions."""
        return self.pair.prediction

    def frame(self) -> pd.DataFrame:
        """Return one row per region and word, as `pairs_frame` does."""
        return pairs_frame([self.pair])

    def figure(self) -> Canvas:
        """Draw the matplotlib figure: the image on the left, gates and shaded words on the right."""
        from matplotlib.figure import Figure as Canvas

        height = self.image.shape[0] / self.image.shape[1] * IMAGE_WIDTH
        height, width = min(height, 2 * IMAGE_WIDTH), IMAGE_WIDTH * min(1.0, 2 * IMAGE_WIDTH / height)
        left = _MARGIN + IMAGE_WIDTH + _GAP
        with missing_glyphs():
            lines = _Writer(None, left, WIDTH - _MARGIN)
            self._write(lines)
            whole = max(height + 2 * _MARGIN, lines.y + _MARGIN)
            canvas = Canvas(figsize=(WIDTH, whole), facecolor="white")
            axes = canvas.add_axes((0, 0, 1, 1))
            axes.set(xlim=(0, WIDTH), ylim=(whole, 0))
            axes.set_axis_off()
            extent = (_MARGIN, _MARGIN + width, _MARGIN + height, _MARGIN)
            axes.imshow(self.image, extent=extent, aspect="auto", interpolation="lanczos")
            axes.set(xlim=(0, WIDTH), ylim=(whole, 0))
            for number, region in reversed(list(enumerate(self.prediction.regions))):
                _outline(axes, region, number, width / self.image.shape[1], height / self.image.shape[0])
            self._write(_Writer(axes, left, WIDTH - _MARGIN))
        return canvas

    def save(self, path: str | Path) -> Path:
        """Write the figure (`.png`, `.pdf`, `.svg`) or a page with it (`.html`).

        Raises:
            ValueError: the file name ends in none of these.
            RunError: the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in ENDINGS:
            raise ValueError(f"{path.name}: expected a name that ends in {', '.join(ENDINGS)}")
        make_folder(path.parent)
        if path.suffix.lower() == ".html":
            return write_page(self._page(), path)
        save(self.figure(), path)
        return path

    def html(self) -> str:
        """Return the page as HTML."""
        return page_html(self._page())

    def _repr_html_(self) -> str:
        return iframe(self.html())

    def _page(self) -> Page:
        shown = picture(self.image, PAGE_SIDE)
        data = pairs_data([RunPairs("", "test", [self.pair], self.span)], {self.pair.image_sha256: shown})
        lines = [self.prediction.chances(".1%")]
        lines += [
            f"{name}: {one.label} ({one.chances('.1%')})".removesuffix(" ()")
            for name, one in self.prediction.further.items()
        ]
        if self.prediction.attended:
            lines.append(f"Attends to: {self.prediction.heaviest(self.prediction.attended)}")
        if self.prediction.by_sentence:
            lines.append(f"Sentences: {self.prediction.by_sentence}")
        if self.prediction.reasons:
            lines.append(f"Because: {self.prediction.because}")
        section = Section(
            "pairs", f"Predicted {self.prediction.label}", [line for line in lines if line], widget="pairs"
        )
        large = {"pairs": {**data, "large": True}}
        return Page("What the head looked at", [section], banner=self.note, data=large)

    def _write(self, write: _Writer) -> None:
        """Write the text beside the image; a first pass without axes measures the space that it takes."""
        prediction = self.prediction
        sure = "" if prediction.value is not None else f" {prediction.probabilities[prediction.label]:.3f}"
        write.words(prediction.label + sure, weight="bold")
        if prediction.value is not None and (ends := prediction.chances(".3f")):
            write.words(f"  ({ends})", color="0.35")
        if self.pair.label and self.pair.label != prediction.label:
            write.words(f"  ({'label' if prediction.value is None else 'true'} {self.pair.label})", color="0.35")
        write.next()
        if not any(region.words for region in prediction.regions):
            self._shade(write, prediction.attended, ATTENDED)
            if prediction.by_sentence:
                for word in f"sentences: {prediction.by_sentence}".split():
                    write.words(f"{word} ", color="0.25")
                write.next()
            if prediction.reasons:
                for name, value in prediction.reasons.items():
                    write.words(f"{name} {value:+.2f}   ", color="0.25")
                write.next()
            elif not (prediction.attended or prediction.regions):
                write.words("This head aligns no regions with words.", color="0.35")
                write.next()
        for number, region in enumerate(prediction.regions):
            write.next(0.35)
            name = f"  {region.name}" if region.name else ""
            gate = f"  gate {region.gate:.4f} " if region.gate is not None else ""
            write.words(f" {number + 1} ", color="white", weight="bold", paper=region_color(number))
            write.words(f"{name}{gate}  attention {region.attention:.3f}", color="0.25")
            write.next()
            if region.words:
                self._shade(write, region.words, region_color(number))
        if self.note:
            write.next(0.35)
            for note_word in self.note.split():
                write.words(note_word + " ", color="#8a5a00")
            write.next()

    def _shade(self, write: _Writer, weights: Mapping[int, float], color: str) -> None:
        """Write the text, each word on a shade of a colour by its weight."""
        for piece, word in segments(self.pair.text, self.prediction.words):
            weight = 0.0 if word is None else weights.get(word, 0.0)
            write.words(piece, paper=over(color, "#ffffff", SHADE * strength(weight)) if word is not None else None)
        if SPECIAL in weights:
            write.words(" ")
            paper = over(color, "#ffffff", SHADE * strength(weights[SPECIAL]))
            write.words(self.prediction.word(SPECIAL), color="0.35", paper=paper)
        write.next()


def explain(predictor: Predictor, image: str | Path, text: str) -> Explanation:
    """Predict one pair and keep what the head computed for its regions.

    Args:
        predictor: a run's predictor, `Predictor(load_run(path), device)`.
        image: the image file.
        text: the text that belongs to it.

    Raises:
        BadFile: the image cannot be used.
        FeatureError: the features cannot be stored, or the text has no words.
    """
    from ..extract.data.images import read_image

    pixels = read_image(Path(image))
    (prediction,) = predictor.predict([(pixels, text)])
    size = (pixels.shape[1], pixels.shape[0])
    pair = Pair(Path(image).name, text, "", prediction, Path(image), size, "")
    return Explanation(pixels, pair, predictor.run.note, predictor.run.target.span)


class _Writer:
    """A writer of pieces of text one after the other, with line breaks; positions are in inches from the top left.

    Args:
        axes: where to draw; None only measures.
        left: where lines begin.
        right: where they end.
    """

    def __init__(self, axes: Axes | None, left: float, right: float) -> None:
        self.axes, self.left, self.right = axes, left, right
        self.x, self.y = left, _MARGIN + 0.7 * _LINE
        self._measure = _measurer()

    def next(self, lines: float = 1.0) -> None:
        """Begin a new line, this many lines below."""
        self.x, self.y = self.left, self.y + lines * _LINE

    def words(self, text: str, color: str = "black", weight: str = "normal", paper: str | None = None) -> None:
        """Write a text; it goes to the next line where it does not fit."""
        text = " ".join(text.split("\n"))
        width = self._measure(text, weight)
        if self.x > self.left and self.x + self._measure(text.rstrip(), weight) > self.right:
            self.next()
            text = text.lstrip()
            width = self._measure(text, weight)
        if self.axes is not None and text.strip():
            if paper is not None:
                from matplotlib.patches import Rectangle

                low, high = 0.62 * _LINE, 0.26 * _LINE
                self.axes.add_patch(Rectangle((self.x, self.y - low), width, low + high, color=paper, linewidth=0))
            options: dict[str, Any] = {"color": color, "weight": weight, "fontsize": _SIZE, "va": "baseline"}
            self.axes.text(self.x, self.y, text, parse_math=False, **options)
        self.x += width


def _measurer() -> Callable[[str, str], float]:
    """Return a function from a text and its font weight to its width in inches."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties

    renderer: Any = RendererAgg(1, 1, _DPI)  # type: ignore[no-untyped-call]
    fonts = {weight: FontProperties(size=_SIZE, weight=weight) for weight in ("normal", "bold")}

    def measure(text: str, weight: str) -> float:
        # A space alone has no ink and would measure 0, so measure what the text adds between two dots.
        whole = renderer.get_text_width_height_descent(f".{text}.", fonts[weight], False)[0]
        dots = renderer.get_text_width_height_descent("..", fonts[weight], False)[0]
        return float(whole - dots) / _DPI

    return measure


def _outline(axes: Axes, region: Region, number: int, x: float, y: float) -> None:
    """Draw a region's box on the image, with its number."""
    from matplotlib.patches import Rectangle

    x1, y1, x2, y2 = region.box
    if x1 == x2 or y1 == y2:  # features that were imported without boxes
        return
    corner, size = (_MARGIN + x1 * x, _MARGIN + y1 * y), ((x2 - x1) * x, (y2 - y1) * y)
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=3.2))
    axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=region_color(number), linewidth=1.8))
    tag = {"facecolor": region_color(number), "edgecolor": "white", "linewidth": 0.6, "pad": 1.2}
    place: dict[str, Any] = {"color": "white", "weight": "bold", "fontsize": 6.5, "ha": "center", "va": "center"}
    axes.text(*corner, str(number + 1), bbox=tag, **place)
