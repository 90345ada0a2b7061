"""Make the README's pictures again from the demo's own data, in a headless Chromium (selenium, chromium-driver).

python docs/make_pictures.py itin-demo    # the folder that `itin demo` has left
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from itin.predict.pairs import pairs_of
from itin.report.explain import Explanation
from itin.report.report import report
from itin.report.thumbnails import Images
from itin.train import load

DOCS = Path(__file__).parent
SIZE = (1200, 880)
PAIR = "35"
"""The pair that stands for Fig. 7, of the demo's test part."""


def main(demo: Path) -> None:
    """Write docs/report.png and docs/fig7.png."""
    runs = sorted((demo / "runs").iterdir())
    with tempfile.TemporaryDirectory() as folder:
        made = report(runs, cache=demo / "cache", images=demo / "MVSA_demo", title="Report on the demo's data")
        page = made.write(folder, None)
        small(screenshot(page, Path(folder) / "report.png"), DOCS / "report.png")
        run = load(runs[0])
        pair = next(pair for pair in pairs_of(run, cache=demo / "cache") if pair.id == PAIR)
        images = Images(Path(run.record["dataset"]["source"]["root"]), demo / "MVSA_demo")
        small(Explanation.of(pair, images, run.note).save(Path(folder) / "fig7.png"), DOCS / "fig7.png")


def screenshot(page: Path, path: Path) -> Path:
    """The pairs of a report as a browser shows them."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver") or ""))
    try:
        light = [
            {"name": "prefers-color-scheme", "value": "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": light})
        size = {"width": SIZE[0], "height": SIZE[1], "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(page.as_uri())
        driver.execute_script("document.getElementById('pairs').scrollIntoView()")
        driver.execute_async_script("setTimeout(arguments[0], 1000)")  # for the pictures that are shown when seen
        driver.save_screenshot(str(path))
    finally:
        driver.quit()
    return path


def small(path: Path, out: Path) -> None:
    """The picture with 256 colours, which suffice for it."""
    image = Image.open(path).convert("RGB")
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "itin-demo"))
