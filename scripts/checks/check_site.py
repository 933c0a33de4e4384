"""Checks a built site: every link within it leads to a place that is there, and nothing comes from elsewhere.

Usage: scripts/checks/check_site.py FOLDER. Exit code 1 with a line for every fault.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADING = {"src", "srcset", "poster", "data"}  # attributes that make a browser load something at once
LOADING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch"}  # and rel of <link href>
STYLE_URL = re.compile(r"(?:url\(|@import)\s*[\"']?(https?:)?//", re.IGNORECASE)


class Page(HTMLParser):
    """Names and links of one page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.names |= {values[name] for name in ("id", "name") if name in values}
        loaded = [values[name] for name in LOADING if name in values]
        if tag == "link" and LOADING_LINKS & set(values.get("rel", "").split()):
            loaded.append(values.get("href", ""))
        self.loaded += loaded
        self.links += [*loaded, *([values["href"]] if "href" in values and tag != "base" else [])]


def pages_of(site: Path) -> list[Path]:
    """Returns the pages, without what the theme keeps in `_static`."""
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.relative_to(site).parts]


def faults(site: Path) -> list[str]:
    """Returns one line for every link that leads nowhere and everything that is loaded from elsewhere."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in pages_of(site)}
    found = [] if pages else [f"{site} holds no page"]
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        found += [f"{name} loads {link}" for link in page.loaded if urlsplit(link).netloc]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            if not target.is_file():
                found.append(f"{name} links to {link}, which is not there")
            elif place and target in pages and place not in pages[target].names:
                found.append(f"{name} links to {link}, and that page has no such place")
    for path in sorted(site.rglob("*.css")):
        if STYLE_URL.search(path.read_text(encoding="utf-8")):
            found.append(f"{path.relative_to(site)} loads from elsewhere")
    return found


def main(folder: str) -> int:
    site = Path(folder)
    found = faults(site)
    for line in found:
        print(line)
    if not found:
        n = len(pages_of(site))
        print(f"{n} pages: every link within the site leads somewhere, and nothing is loaded from elsewhere")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
