"""The report page in headless Chromium: it works by mouse and keyboard, fits a phone, and axe-core finds nothing bad.

Needs Chromium with its driver, selenium, and axe-core, which `make page-check` demands and elsewhere these tests skip
without. `SEMCONV_PAGE` names a page to look at instead of the made-up one.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from semconv.report.page import page
from semconv.study.order import in_order
from tests._helpers.made_up import labelled, results
from tests._helpers.made_up_page import claims, draws, labelled_tables, tables

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


def _missing() -> str | None:
    """What these tests lack on this machine."""
    if CHROMIUM is None or DRIVER is None:
        return "Chromium and its driver are needed: apt-get install chromium chromium-driver"
    for package in ("selenium", "axe_playwright_python", "vl_convert", "jinja2", "pyarrow"):
        if find_spec(package) is None:
            return f"the package {package} is needed: make page-check installs it"
    return None


MISSING = _missing()
if MISSING and os.environ.get("SEMCONV_PAGE_CHECK"):
    raise RuntimeError(MISSING)
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


def axe_source() -> str:
    """axe-core, as a package for another driver ships it; that package itself is never imported."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


GIVEN = os.environ.get("SEMCONV_PAGE")
PAGES = {"layers": (results, tables), "labels of SAEs": (labelled, labelled_tables)}


@pytest.fixture(scope="module", params=[GIVEN] if GIVEN else list(PAGES))
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if GIVEN:
        return Path(GIVEN).resolve().as_uri()
    make, tables_of = PAGES[request.param]
    found = in_order(make())
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(page(found, claims(), tables_of(), draws(found)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"):
        options.add_argument(argument)
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, address: str) -> Any:
    """The page, freshly opened on a desktop in the light theme, nothing kept from before."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    emulate(browser, scheme="light")
    browser.get(address)
    browser.execute_script("localStorage.clear()")
    browser.get(address)
    browser.get_log("browser")
    return browser


def emulate(browser: Any, scheme: str, media: str = "") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def choose(browser: Any, name: str, value: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element(By.ID, name)).select_by_value(value)


def script(browser: Any, text: str) -> Any:
    return browser.execute_script(f"return {text}")


def wait_for(browser: Any, condition: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 5).until(lambda _: script(browser, condition))


def count(browser: Any) -> int:
    return int(str(script(browser, "document.getElementById('count').textContent")).split(" of ")[0].replace(",", ""))


def test_it_opens_without_an_error_or_a_request(browser: Any, address: str, capsys: pytest.CaptureFixture[str]):
    emulate(browser, "light")
    browser.get(address)
    assert browser.get_log("browser") == []
    requested = script(browser, "performance.getEntriesByType('resource').map((e) => e.name)")
    assert requested == []
    loaded = script(browser, "performance.getEntriesByType('navigation')[0].loadEventEnd")
    with capsys.disabled():
        sys.stdout.write(f"\n  page loaded in {loaded:.0f} ms\n")


def test_the_page_blocks_what_it_does_not_hold(opened: Any):
    """The policy is in force: neither an image from elsewhere nor a script made by a script runs."""
    opened.execute_script(
        "window.blocked = []; document.addEventListener('securitypolicyviolation', (e) => "
        "window.blocked.push(e.effectiveDirective));"
        "const i = new Image(); i.src = 'https://example.invalid/x.png'; document.body.append(i);"
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s);"
    )
    wait_for(opened, "window.blocked.length >= 2")
    assert {"img-src", "script-src-elem"} <= set(script(opened, "window.blocked"))
    assert script(opened, "window.ran") is None


def test_search_by_typing_and_by_keyboard(opened: Any):
    from selenium.webdriver.common.keys import Keys

    whole = count(opened)
    token = script(opened, "JSON.parse(document.getElementById('data').textContent).explorer.a[3][2].at(-1)[0]")
    press(opened, "/")
    assert script(opened, "document.activeElement.id") == "query"
    press(opened, token)
    wait_for(opened, f"!document.getElementById('count').textContent.startsWith('{whole:,} of')")
    assert 1 <= count(opened) < whole
    shown = script(opened, "[...document.querySelectorAll('#pairs summary')].map((s) => s.textContent.toLowerCase())")
    assert shown
    assert all(token.lower() in text for text in shown)
    press(opened, Keys.ARROW_DOWN)
    assert script(opened, "document.activeElement.tagName") == "SUMMARY"
    press(opened, Keys.ENTER)
    wait_for(opened, "document.querySelector('#pairs details').open")
    wait_for(opened, "document.querySelectorAll('#pairs .both mark').length > 0")
    press(opened, Keys.ARROW_UP)
    assert script(opened, "document.activeElement.id") == "query"


def test_numbers_layers_and_r_narrow_the_search(opened: Any):
    opened.execute_script("window.found = JSON.parse(document.getElementById('data').textContent).explorer")
    data = "window.found"
    whole, feature = count(opened), script(opened, f"{data}.b[5][1]")
    fill = (
        "const f = document.getElementById(arguments[0]); f.value = arguments[1]; f.dispatchEvent(new Event('input'))"
    )

    def narrowed(name: str, value: str) -> int:
        before = count(opened)
        opened.execute_script(fill, name, value)
        if value:
            wait_for(opened, f"!document.getElementById('count').textContent.startsWith('{before:,} of')")
        found = count(opened)
        opened.execute_script(fill, name, "")
        wait_for(opened, f"document.getElementById('count').textContent.startsWith('{whole:,} of')")
        return found

    matching = f"{data}.pairs.filter(([a, b]) => {data}.a[a][1] === {feature} || {data}.b[b][1] === {feature}).length"
    assert narrowed("query", f"#{feature}") == script(opened, matching)
    layer = script(opened, f"{data}.a[0][0]")
    assert narrowed("layer-a", layer) == script(
        opened, f"{data}.pairs.filter(([a]) => {data}.a[a][0] === '{layer}').length"
    )
    middle = script(opened, f"{data}.pairs[Math.floor({data}.pairs.length / 2)][2]")
    assert narrowed("r-min", str(middle)) == script(opened, f"{data}.pairs.filter((p) => p[2] >= {middle}).length")
    assert narrowed("query", "no such token anywhere") == 0


def test_measure_null_and_field_switch_the_map(opened: Any):
    cells = "[...document.querySelectorAll('#map [data-cell] .v')].map((c) => c.textContent)"
    data = script(opened, "JSON.parse(document.getElementById('data').textContent).grid")
    title = "document.getElementById('map-title').textContent"
    seen = {str(script(opened, cells))}
    for measure in data["measures"]:
        choose(opened, "measure", measure)
        assert data["measures"][measure]["title"] in script(opened, title)
    for show in ("calibrated", "z", "mean", "pairs"):
        choose(opened, "show", show)
        seen.add(str(script(opened, cells)))
    assert len(seen) == 5
    shown = [
        script(opened, f"document.querySelector('[data-cell=\"{i}\"] .v').textContent")
        for i in range(len(data["cells"]))
    ]
    assert shown == [str(cell["pairs"]) for cell in data["cells"]]
    choose(opened, "show", "z")
    one = script(opened, cells)
    choose(opened, "null", data["nulls"][0])
    assert script(opened, cells) != one
    assert data["nulls"][0] in script(opened, title)


def test_the_map_is_walked_by_arrow_keys(opened: Any):
    from selenium.webdriver.common.keys import Keys

    opened.execute_script("document.querySelector('#map [tabindex=\"0\"]').focus()")
    press(opened, Keys.HOME)
    first = script(opened, "document.querySelector('#detail h3').textContent")
    press(opened, Keys.ARROW_RIGHT)
    second = script(opened, "document.querySelector('#detail h3').textContent")
    assert first != second
    assert script(opened, "document.querySelectorAll('#map [tabindex=\"0\"]').length") == 1
    assert script(opened, "document.activeElement.getAttribute('aria-selected')") == "true"
    assert "of small, layer" in script(opened, "document.activeElement.getAttribute('aria-label')")


def test_the_theme_follows_the_system_until_it_is_chosen(opened: Any):
    background = "getComputedStyle(document.body).backgroundColor"
    light = script(opened, background)
    emulate(opened, "dark")
    dark = script(opened, background)
    assert light != dark
    opened.execute_script("document.getElementById('theme').click()")
    assert script(opened, background) == light
    opened.refresh()
    assert script(opened, background) == light
    opened.execute_script("document.getElementById('theme').click()")
    assert script(opened, background) == dark
    emulate(opened, "dark", media="print")
    assert script(opened, background) == light  # paper is light


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_moderate(opened: Any, scheme: str, width: int):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    emulate(opened, scheme)
    opened.execute_script("for (const d of [...document.querySelectorAll('details')].slice(0, 60)) d.open = true")
    wait_for(opened, "document.querySelectorAll('#pairs .both').length > 0")
    opened.execute_script(axe_source())
    found = opened.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then((r) => "
        "done(r.violations.map((v) => [v.impact, v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)])))"
    )
    assert [violation for violation in found if violation[0] != "minor"] == [], json.dumps(found, indent=1)


def test_a_phone_has_no_sideways_scroll(opened: Any):
    size = {"width": 360, "height": 780, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    assert script(opened, "document.documentElement.scrollWidth") <= 360
    wide = (
        "[...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll, svg, .glance') && "
        "e.getBoundingClientRect().right > 361).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert script(opened, wide) == []


def test_a_phone_folds_long_parts_and_stacks_wide_tables(opened: Any):
    """Closed on a phone, open on a desktop and on paper; no column of the summary or the claims is off the screen."""
    folds = "[...document.querySelectorAll('details.fold')].map((d) => d.open)"
    assert all(script(opened, folds))
    size = {"width": 390, "height": 780, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.refresh()
    assert not any(script(opened, folds))
    folded = script(opened, "document.documentElement.scrollHeight")
    opened.execute_script("for (const d of document.querySelectorAll('details.fold')) d.open = true")
    assert folded <= script(opened, "document.documentElement.scrollHeight") / 1.3  # mini: / 2
    around = "[...document.querySelectorAll('.cards')].map((t) => t.closest('.scroll'))"
    cards = f"{around}.map((s) => s.scrollWidth - s.clientWidth)"
    assert script(opened, f"Math.max(...{cards})") <= 0
    opened.execute_script("for (const d of document.querySelectorAll('details.fold')) d.open = false")
    opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert all(script(opened, folds))


def test_headings_go_down_one_level_at_a_time(opened: Any):
    opened.execute_script("for (const d of [...document.querySelectorAll('details')].slice(0, 60)) d.open = true")
    levels = script(opened, "[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_navigation_follows(opened: Any):
    """The section that is read is marked, and on a phone the bar scrolls to its name."""
    size = {"width": 390, "height": 780, "deviceScaleFactor": 1, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.refresh()
    opened.execute_script("document.documentElement.style.scrollBehavior = 'auto'")
    opened.execute_script("document.getElementById('streams').scrollIntoView()")
    wait_for(opened, "document.querySelector('nav [aria-current]')?.hash === '#streams'")
    place = (
        "(() => { const a = document.querySelector('nav [aria-current]').getBoundingClientRect(); return "
        "a.left >= 0 && a.right <= innerWidth && a.top >= 0; })()"
    )
    wait_for(opened, place)


def test_the_outlined_cell_is_the_one_that_is_described(opened: Any):
    """Also while the mouse is over another one than was chosen."""
    cell = "document.querySelector('#map [data-cell=\"0\"]')"
    opened.execute_script(
        f"{cell}.dispatchEvent(new PointerEvent('pointerover', {{bubbles: true, pointerType: 'mouse'}}))"
    )
    outlined = script(opened, "[...document.querySelectorAll('#map .shown')].map((c) => c.dataset.cell)")
    assert outlined == ["0"]
    cells = script(opened, "JSON.parse(document.getElementById('data').textContent).grid.cells")
    title = script(opened, "document.querySelector('#detail h3').textContent")
    assert title.startswith(f"small layer {cells[0]['a']} ")
    opened.execute_script("document.getElementById('map').dispatchEvent(new PointerEvent('pointerleave'))")
    chosen = script(opened, "document.querySelector('#map [aria-selected=\"true\"]').dataset.cell")
    assert script(opened, "[...document.querySelectorAll('#map .shown')].map((c) => c.dataset.cell)") == [chosen]


def test_without_scripts_charts_and_tables_are_readable(browser: Any, address: str):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(address)
        shown = "[...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility()).length"
        visible = {
            css: browser.execute_script(f"return {shown}", css)
            for css in ("svg", "table", ".excerpt", ".needs-js", "noscript p")
        }
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert visible["svg"] >= 5
    assert visible["table"] >= 5
    assert (visible[".excerpt"], visible[".needs-js"], visible["noscript p"]) == (1, 0, 1)


def test_print_shows_the_excerpt_instead_of_the_explorer(opened: Any):
    emulate(opened, "light", media="print")
    shown = {
        css: script(opened, f"document.querySelector('{css}').checkVisibility()")
        for css in (".excerpt", "#pairs", "nav", "#map")
    }
    assert shown == {".excerpt": True, "#pairs": False, "nav": False, "#map": True}
