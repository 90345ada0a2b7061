"""The site of the documentation in a real browser, opened from disk: headless Chromium. Run with -m browser.

ITIN_BUILT names the folder of a site that is built already; else it is built here, with warnings as errors.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .browser import chromium

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[1]

LOOKED_AT = (
    "index", "start/demo", "guides/own-pairs", "guides/fair", "concepts/network", "reference/commands/train",
    "reference/python/itin_head", "reference/errors", "troubleshooting", "results", "notebooks/first-steps",
)  # fmt: skip
"""Pages of every kind, for what takes longer."""

AXE = """axe.run(document, {rules: {"target-size": {enabled: true}}})
    .then(({violations}) => violations.map(({id, nodes}) => [id, nodes.slice(0, 3).map(({html}) => html)]))
    .then(arguments[0])"""
"""All rules of axe-core, and one of WCAG 2.2 that it leaves out unless told."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="needs the extra docs")
    if "ITIN_BUILT" in os.environ:
        return Path(os.environ["ITIN_BUILT"]).resolve()
    work = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "build.py"), str(work)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return work / "site"


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    with chromium() as found:
        found.set_script_timeout(120)
        yield found


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, by npm."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm, for axe-core")
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--fetch-retries=1", "axe-core@4"]
    if subprocess.run(command, capture_output=True, check=False, timeout=120).returncode:
        pytest.skip("npm cannot install axe-core: no network")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def view(driver: Any, page: Path, width: int = 1280, mode: str = "light") -> None:
    """Open a page, as a reader with that screen and theme does for the first time."""
    media = [{"name": "prefers-color-scheme", "value": mode}, {"name": "prefers-reduced-motion", "value": "reduce"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(page.as_uri())


def test_no_page_is_wider_than_a_phone(driver: Any, site: Path) -> None:
    wide = {}
    for page in sorted(site.rglob("*.html")):
        if "reference/python" not in page.as_posix() or page.stem == "itin_head":
            view(driver, page, 390)
            width = driver.execute_script("return document.documentElement.scrollWidth")
            if width > 390:
                wide[page.relative_to(site).as_posix()] = width
    assert wide == {}


def test_nothing_is_fetched_and_nothing_fails(driver: Any, site: Path) -> None:
    driver.get_log("performance")
    driver.get_log("browser")
    for name in LOOKED_AT:
        view(driver, site / f"{name}.html")
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = {one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"}
    assert urls
    assert {url for url in urls if not url.startswith(("file:", "data:", "blob:"))} == set()
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    broken = "return [...document.images].filter(one => one.complete && !one.naturalWidth).map(one => one.src)"
    for name in ("index", "concepts/network", "guides/report"):
        view(driver, site / f"{name}.html")
        assert driver.execute_script(broken) == []


def test_the_theme_follows_the_reader(driver: Any, site: Path) -> None:
    paper = {}
    for mode in ("light", "dark"):
        view(driver, site / "index.html", mode=mode)
        paper[mode] = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    light, dark = (sum(map(int, paper[mode].split("(")[1].rstrip(")").split(",")[:3])) for mode in ("light", "dark"))
    assert light > 3 * 200
    assert dark < 3 * 60


def search(driver: Any, word: str) -> None:
    """Look for a word in the site's search, and wait for what it finds."""
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    driver.find_element("css selector", "body").send_keys(Keys.CONTROL, "k")
    driver.execute_async_script("setTimeout(arguments[0], 1000)")
    driver.switch_to.active_element.send_keys(word)
    found = f"""
        const all = root => [...root.querySelectorAll('*')].flatMap(
            one => one.shadowRoot ? [one, ...all(one.shadowRoot)] : [one]);
        return all(document).filter(one => one.href && one.href.includes('h={word}')).length"""
    WebDriverWait(driver, 30).until(lambda _: driver.execute_script(found) > 0)


def broken_rules(driver: Any, axe: str) -> dict[str, list[str]]:
    """What axe finds on the page as it is: rule -> the first elements."""
    driver.execute_async_script("setTimeout(arguments[0], 400)")  # for site.js, and the header's transition
    driver.execute_script(axe)
    return dict(driver.execute_async_script(AXE))


def test_the_search_finds_from_disk(driver: Any, site: Path) -> None:
    view(driver, site / "index.html")
    search(driver, "quarantine")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_pages_are_accessible(mode: str, width: int, driver: Any, site: Path, axe: str) -> None:
    found = {}
    for name in LOOKED_AT:
        view(driver, site / f"{name}.html", width, mode)
        if broken := broken_rules(driver, axe):
            found[name] = broken
    assert found == {}


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_search_is_accessible(mode: str, driver: Any, site: Path, axe: str) -> None:
    view(driver, site / "index.html", mode=mode)
    search(driver, "quarantine")
    broken = broken_rules(driver, axe)
    broken.pop("label-content-name-mismatch", None)  # the theme names a result by its title and its place
    assert broken == {}
