"""The report page in headless Chromium: it works by mouse and keyboard, fits a phone, and axe-core finds nothing bad.

Needs Chromium with its driver, selenium, and axe-core, which `make page-check` demands and elsewhere these tests skip
without. `SEMCONV_PAGE` names a page to look at instead of the made-up one.
"""

from __future__ import annotations

import csv
import io
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

from semconv.report import explorer as explorer_module
from semconv.report.explorer_cells import visible
from semconv.report.page import page
from semconv.report.page_numbers import unpack_signed
from semconv.study.order import in_order
from tests._helpers.made_up import labelled, results
from tests._helpers.made_up_page import (
    NASTY,
    claims,
    draws,
    features,
    labelled_tables,
    pairs,
    tables,
    texts,
    write_rows,
)

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

    WebDriverWait(browser, 5, 0.05).until(lambda _: script(browser, condition))


def count(browser: Any) -> int:
    return int(str(script(browser, "document.getElementById('count').textContent")).split(" ")[0].replace(",", ""))


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


def every_pair(browser: Any) -> list[dict[str, Any]]:
    """The pairs that the page holds, a row each."""
    cells = script(browser, "semconvPage.data.explorer.cells")
    return [
        {"a": cell["a"], "b": cell["b"], **dict(zip(cell["columns"], row, strict=True))}
        for cell in cells
        for row in zip(*map(unpack_signed, cell["columns"].values()), strict=True)
    ]


def fill(browser: Any, name: str, value: str) -> None:
    """Sets a field of the search, and waits for its answer."""
    browser.execute_script(
        "document.getElementById('pairs').dataset.ms = ''; const f = document.getElementById(arguments[0]);"
        "f.value = arguments[1]; f.dispatchEvent(new Event('input'))",
        name,
        value,
    )
    wait_for(browser, "document.getElementById('pairs').dataset.ms !== ''")


def test_search_by_typing_and_by_keyboard(opened: Any):
    from selenium.webdriver.common.keys import Keys

    whole = count(opened)
    token = script(
        opened,
        "[...document.querySelectorAll('#pairs .tok')].map((t) => t.textContent).find((t) => /^\\w{2,}$/.test(t))",
    )
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
    wait_for(opened, "document.querySelectorAll('#pairs .card').length > 0")
    press(opened, Keys.ARROW_UP)
    assert script(opened, "document.activeElement.id") == "query"


def test_numbers_layers_and_r_narrow_the_search(opened: Any):
    whole, rows = count(opened), every_pair(opened)

    def narrowed(name: str, value: str) -> int:
        fill(opened, name, value)
        found = count(opened)
        fill(opened, name, "")
        assert count(opened) == whole
        return found

    feature = rows[5]["feature_b"]
    assert narrowed("query", f"#{feature}") == sum(feature in (row["feature_a"], row["feature_b"]) for row in rows)
    of_layer = rows[0]["a"], rows[0]["feature_a"]
    assert narrowed("query", ":".join(map(str, of_layer))) >= 1
    assert narrowed("query", f"a{of_layer[0]}:{of_layer[1]}") == sum(
        (row["a"], row["feature_a"]) == of_layer for row in rows
    )
    assert narrowed("layer-a", rows[0]["a"]) == sum(row["a"] == rows[0]["a"] for row in rows)
    middle = sorted(row["r"] for row in rows)[len(rows) // 2]
    assert narrowed("r-min", str(middle / 10_000)) == sum(row["r"] >= middle for row in rows)
    assert narrowed("query", "no such token anywhere") == 0


made_up_only = pytest.mark.skipif(GIVEN is not None, reason="asks for what the made-up page holds")


@made_up_only
def test_whole_tokens_and_regular_expressions(opened: Any):
    fill(opened, "query", "word1")
    assert count(opened) == 11  # word1, and word10 to word19
    fill(opened, "mode", "whole")
    assert count(opened) == 1
    fill(opened, "query", "^word[12]$")
    assert count(opened) == 0
    fill(opened, "mode", "regex")
    assert count(opened) == 2
    fill(opened, "mode", "regex")
    opened.execute_script(
        "const f = document.getElementById('query'); f.value = '('; f.dispatchEvent(new Event('input'))"
    )
    wait_for(opened, "document.getElementById('count').textContent.includes('no regular expression')")
    fill(opened, "mode", "")
    fill(opened, "query", "before12")
    assert count(opened) == 0
    assert "search the text too" in script(opened, "document.getElementById('count').textContent")
    opened.execute_script("document.getElementById('in-contexts').click()")
    wait_for(opened, "document.getElementById('count').textContent.startsWith('10 of')")


@made_up_only
def test_pairs_are_ordered_and_filtered_by_each_measure(opened: Any):
    rows = every_pair(opened)
    shown = "[...document.querySelectorAll('#pairs summary .who')].map((w) => Number(w.textContent.split('#')[1]))"
    values = {
        "r": lambda row: row["r"],
        "within": lambda row: row["r_within_token"],
        "overlap": lambda row: row["active_both"] / (row["active_a"] + row["active_b"] - row["active_both"]),
        "both": lambda row: row["active_both"],
        "fires_a": lambda row: row["active_a"],
        "lead": lambda row: None if row.get("next_r_a") is None else row["r"] - row["next_r_a"],
    }
    for name, value in values.items():
        for way in ("", "up"):
            fill(opened, "order", name)
            fill(opened, "way", way)
            known = sorted((row for row in rows if value(row) is not None), key=lambda row: value(row), reverse=not way)
            assert script(opened, shown)[::2][:5] == [row["feature_a"] for row in known[:5]], (name, way)
    fill(opened, "bound", "both")
    fill(opened, "r-max", "12")
    assert count(opened) == sum(row["active_both"] <= 12 for row in rows) == 3
    fill(opened, "r-max", "")
    fill(opened, "mutual", "yes")
    assert count(opened) == sum(row["mutual"] for row in rows) == 10
    fill(opened, "mutual", "")
    fill(opened, "category", "Time")
    assert count(opened) == 8
    assert (
        script(opened, "[...document.getElementById('order').options].map((o) => o.value).includes('function')")
        is False
    )


@made_up_only
def test_a_pair_shows_both_models_on_one_text(opened: Any):
    assert script(opened, "document.getElementById('order').value") == "within"  # until another is chosen
    assert not script(opened, "document.getElementById('pairs-key').hidden")
    fill(opened, "order", "r")
    wait_for(opened, "document.querySelector('#pairs summary .r').textContent.startsWith('0.99')")
    opened.execute_script("document.querySelector('#pairs summary').click()")
    wait_for(opened, "document.querySelector('#pairs .card') !== null")
    assert script(opened, "[...document.querySelectorAll('.card .band h4')].map((h) => h.textContent)") == [
        "Where the two together are strongest",
        "Where A is strongest while B is silent",
    ]
    at = "[...document.querySelectorAll('.card .band .p.at')].map((p) => p.className)"
    # 35 and 30 of 35 steps in six shades: ceil(6 * 30 / 35) = 6; B is silent in the second.
    assert script(opened, at) == ["p x6 y6 at", "p x6 y0 at"]
    assert script(opened, "document.querySelector('.card .band small').textContent") == "A 100%, B 86%, document 7"
    card = script(opened, "document.querySelector('.card').textContent")
    for part in ("only A 40, both 10, only B 50 places", "each the other's best partneryes", "promoted0", "Time"):
        assert part in card


@made_up_only
def test_the_address_leads_back_to_filters_pairs_and_cells(browser: Any, address: str, opened: Any):
    fill(opened, "query", "word1")
    fill(opened, "mode", "whole")
    fill(opened, "r-min", "0.5")
    choose(opened, "show", "z")
    opened.execute_script("document.querySelector('#pairs summary').click()")
    wait_for(opened, "location.hash.includes('pair=')")
    kept = script(opened, "location.hash")
    browser.get("about:blank")
    browser.get(f"{address}{kept}")
    assert script(opened, "['query', 'mode', 'r-min', 'show'].map((id) => document.getElementById(id).value)") == [
        "word1",
        "whole",
        "0.5",
        "z",
    ]
    wait_for(opened, "document.querySelector('#pairs details').open")
    assert "word1" in script(opened, "document.querySelector('#pairs summary').textContent")
    opened.execute_script("document.querySelectorAll('#map [data-cell]')[1].click()")
    cell = script(opened, "document.querySelector('#detail h3').textContent")
    kept = script(opened, "location.hash")
    browser.get("about:blank")
    browser.get(f"{address}{kept}")
    assert script(opened, "document.querySelector('#detail h3').textContent") == cell
    browser.get("about:blank")
    browser.get(f"{address}#view?pair=0~2~1~1")
    wait_for(opened, "document.getElementById('count').textContent.includes('is not among the pairs')")


@made_up_only
def test_what_is_found_is_saved_so_that_it_can_be_read_back(opened: Any):
    opened.execute_script(
        "window.saved = {}; const make = URL.createObjectURL; URL.createObjectURL = (blob) => {"
        "blob.text().then((t) => { window.saved[blob.type] = t; }); return make.call(URL, blob); };"
        "HTMLAnchorElement.prototype.click = () => {};"
    )
    fill(opened, "order", "r")
    fill(opened, "r-min", "0.96")
    for button in ("save-csv", "save-json"):
        opened.execute_script(f"document.getElementById('{button}').click()")
    wait_for(opened, "Object.keys(window.saved).length === 2")
    saved = script(opened, "window.saved")
    rows = json.loads(saved["application/json"])
    assert [row["r"] for row in rows] == [0.99, 0.98, 0.97, 0.96]
    table = list(csv.DictReader(io.StringIO(saved["text/csv"])))
    assert [json.loads(row["top_tokens_a"]) for row in table] == [row["top_tokens_a"] for row in rows]
    assert rows[1]["top_tokens_a"] == [visible(NASTY[1]), "word1", "word1"]
    assert (rows[0]["mutual"], rows[3]["r_within_token"], rows[0]["categories_a"]) == (True, None, ["Time"])
    assert (table[0]["mutual"], table[3]["r_within_token"]) == ("true", "")


def test_an_address_that_asks_for_what_a_run_lacks_shows_its_pairs_all_the_same(
    browser: Any, address: str, opened: Any
):
    """A link from another run left the list empty: no measure to order by was chosen."""
    browser.get("about:blank")
    browser.get(f"{address}#view?order=nothing&by=nothing&mode=nothing")
    wait_for(opened, "document.querySelectorAll('#pairs details').length > 0")
    assert script(opened, "document.getElementById('order').selectedIndex") == 0
    assert script(opened, "document.getElementById('bound').selectedIndex") == 0


def test_tokens_stay_in_one_piece(opened: Any):
    """A space at the beginning of a token was left behind at the end of a line, in half a box."""
    opened.execute_script("document.querySelector('#pairs summary').click()")
    wait_for(opened, "document.querySelector('#pairs .card') !== null")
    boxes = "[...document.querySelectorAll('#pairs .tok, #pairs .card .p.at')]"
    assert script(opened, f"{boxes}.length") >= 2
    assert script(opened, f"{boxes}.every((e) => e.getClientRects().length === 1)")


@made_up_only
def test_features_without_a_pair_are_listed(opened: Any):
    fill(opened, "kind", "a")
    assert count(opened) == 2
    shown = script(opened, "[...document.querySelectorAll('#pairs .lone')].map((e) => e.textContent)")
    assert all("alone" in text and "best partner B 2" in text and "fires at 50 places" in text for text in shown)
    off = "['bound', 'mutual', 'category', 'in-contexts'].map((id) => document.getElementById(id).disabled)"
    assert all(script(opened, off)), "what is not known of such features is not asked for"
    assert script(opened, "document.getElementById('pairs-key').hidden"), "no text is shown of them"
    assert "r with the best partner" in script(opened, "document.getElementById('count').textContent")
    fill(opened, "kind", "b")
    assert "no partner: it never varies" in script(opened, "document.querySelector('#pairs .lone').textContent")
    fill(opened, "kind", "")
    wait_for(opened, "document.querySelectorAll('#pairs details').length > 0")
    assert not any(script(opened, off))


@made_up_only
def test_of_a_large_run_choosing_layers_reads_the_folder_also_from_a_disk(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(explorer_module, "MOST_PAIRS", 10)
    rows = pairs(200)
    write_rows(tmp_path, rows, texts(rows), features(rows))
    found = in_order(results())
    explorer = explorer_module.read_explorer(tmp_path, tmp_path)
    (tmp_path / "index.html").write_text(page(found, [], explorer, {}), encoding="utf-8")
    emulate(browser, "light")
    browser.get((tmp_path / "index.html").as_uri())
    wait_for(browser, "document.getElementById('count').textContent.includes('of 40 pairs that are read, 200 in all')")
    fill(browser, "query", "word190")
    assert count(browser) == 0
    fill(browser, "layer-a", "0")
    assert count(browser) == 1
    assert script(browser, "document.querySelectorAll('#pairs .glance').length") == 0
    browser.execute_script("document.querySelector('#pairs summary').click()")
    wait_for(browser, "document.querySelectorAll('#pairs .card .band').length === 2")  # its text is read now
    fill(browser, "layer-a", "")
    browser.execute_script(
        "document.getElementById('pairs').dataset.ms = ''; document.getElementById('read-all').click()"
    )
    wait_for(browser, "document.getElementById('pairs').dataset.ms !== ''")
    fill(browser, "query", "")
    assert count(browser) == 200
    assert script(browser, "document.getElementById('read-all').hidden")
    assert browser.get_log("browser") == []
    shutil.copytree(tmp_path, tmp_path / "copy")  # what was read once may be in a cache
    (tmp_path / "copy" / "explorer" / "pairs-1.js").unlink()
    browser.get((tmp_path / "copy" / "index.html").as_uri())
    fill(browser, "layer-a", "1")
    wait_for(browser, "document.getElementById('count').textContent.includes('semconv report')")
    browser.get_log("browser")


def test_measure_null_and_field_switch_the_map(opened: Any):
    cells = "[...document.querySelectorAll('#map [data-cell] .v')].map((c) => c.textContent)"
    data = script(opened, "JSON.parse(document.getElementById('data').textContent).grid")
    title = "document.getElementById('map-title').textContent"
    seen = {str(script(opened, cells))}
    first = data["measures"][script(opened, "document.getElementById('measure').value")]["cells"]

    def of(null: str | None) -> list[str]:
        known = [cell.get("nulls", {}).get(null, cell) if null else cell for cell in first]
        values = [cell.get("score") if "score" in whole else None for cell, whole in zip(known, first, strict=True)]
        return [
            "none" if values[i] is None else f"{values[i]:.3f}"
            for i in map(int, script(opened, cells.replace(" .v", "").replace("textContent", "dataset.cell")))
        ]

    assert script(opened, cells) == of(script(opened, "document.getElementById('null').value"))
    assert "strongest pairs" in script(opened, title)  # what the null tests
    choose(opened, "show", "all")
    assert script(opened, cells) == of(None)
    assert "all pairs" in script(opened, title)
    choose(opened, "show", "score")
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
    wait_for(opened, "document.querySelectorAll('#pairs .card').length > 0")
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


def test_on_a_phone_choices_are_read_whole_and_both_ends_of_a_range_are_in_one_row(opened: Any):
    size = {"width": 360, "height": 780, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    top = "document.getElementById('{}').getBoundingClientRect().top"
    assert script(opened, top.format("r-min")) == script(opened, top.format("r-max"))
    assert script(opened, top.format("layer-a")) == script(opened, top.format("layer-b"))
    text = (
        "((s) => { const c = document.createElement('canvas').getContext('2d'); c.font = getComputedStyle(s).font; "
        "return s.clientWidth - c.measureText(s.selectedOptions[0].textContent).width; })"
        "(document.getElementById('{}'))"
    )
    for name in ("show", "bound", "order", "way"):
        assert script(opened, text.replace("'{}'", f"'{name}'")) >= 40, name  # the arrow and room beside the text


def test_on_a_phone_the_box_beside_the_map_shows_every_null_at_once(opened: Any):
    size = {"width": 390, "height": 780, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    box = "document.querySelector('#detail .scroll')"
    assert script(opened, f"{box}.querySelectorAll('thead th').length") >= 2
    assert script(opened, f"{box}.scrollWidth - {box}.clientWidth") <= 0


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


def test_a_link_to_a_pair_moves_the_page_to_it_from_anywhere(browser: Any, tmp_path: Path):
    """Also where the reader has scrolled before, and a second time by the same link.

    A browser reads a page as large as a real one in several steps, and goes back to where the reader was last.
    """
    found = in_order(results())
    text = page(found, claims(), tables(), draws(found))
    (tmp_path / "index.html").write_text(text.replace("</main>", f"<!--{'-' * 3_000_000}></main>"), encoding="utf-8")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    emulate(browser, "light")
    browser.get((tmp_path / "index.html").as_uri())
    row = every_pair(browser)[0]
    name = "~".join(str(row[part]) for part in ("a", "b", "feature_a", "feature_b"))
    card = "document.querySelector('#pairs details[open] .card')"
    for down in (0, 600, 600, 1200):
        browser.execute_script(
            "window.before = true; const link = document.createElement('a'); link.textContent = 'a pair';"
            "link.href = `#view?pair=${arguments[0]}`; document.querySelector('header').append(link);"
            "scrollTo({ top: arguments[1], behavior: 'instant' }); link.click()",
            name,
            down,
        )
        wait_for(browser, f"document.readyState === 'complete' && !window.before && {card} !== null")
        wait_for(browser, "history.scrollRestoration === 'auto'")  # as the page leaves it when it is where it goes
        top, high = script(browser, f"[{card}.getBoundingClientRect().top, innerHeight]")
        assert 0 <= top < high


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
        for css in (".excerpt", "#pairs", "#pairs-key", "nav", "#map")
    }
    assert shown == {".excerpt": True, "#pairs": False, "#pairs-key": False, "nav": False, "#map": True}
    opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert script(opened, "document.querySelector('.terms.wide').checkVisibility()"), "paper has the words, too"
    said = "getComputedStyle(document.querySelector('details.more:not(.words) > summary'), '::after').content"
    assert "report.md" in script(opened, said), "where a table is that paper leaves out"
    assert not script(opened, "document.querySelector('details.more:not(.words) table').checkVisibility()")
    opened.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert not script(opened, "document.querySelector('details.words').open")


def test_the_name_of_a_row_stays_where_a_wide_table_is_moved(opened: Any):
    size = {"width": 390, "height": 780, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    tables = (
        "[...document.querySelectorAll('.scroll')].filter((s) => s.querySelector('table:not(.heat, .cards) tbody th'))"
    )
    wide = f"{tables}.filter((s) => s.scrollWidth > s.clientWidth + 60)"
    assert script(opened, f"{wide}.length") >= 1
    left = "s.querySelector('tbody th').getBoundingClientRect().left - s.getBoundingClientRect().left"
    moved = f"((s) => {{ s.scrollLeft = 50; return {left}; }})"
    assert script(opened, f"{wide}.every((s) => Math.abs({moved}(s)) <= 1)")


def test_the_box_beside_the_map_is_not_wider_than_its_room(opened: Any):
    box = "document.querySelector('#detail .scroll')"
    assert script(opened, f"{box}.scrollWidth - {box}.clientWidth") <= 0
