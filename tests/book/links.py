"""Checks a rendered book: every local link leads to a file of it, and to a heading that is there.

Usage: links.py FOLDER. Exit status 1 if a link is broken.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Made for the root of a server, where its links are absolute.
LEFT_OUT = {"404.html"}


class Page(HTMLParser):
    """The anchors and links of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def main():
    folder = Path(sys.argv[1]).resolve()
    files = [file for file in sorted(folder.rglob("*.html")) if file.name not in LEFT_OUT]
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in files}
    broken, checked = [], 0
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            checked += 1
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_relative_to(folder) or not target.is_file():
                why = "there is no such file"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                why = "there is no such heading"
            else:
                continue
            broken.append(f"{file.relative_to(folder)}: {link}: {why}")
    if not checked:
        broken.append(f"{folder}: no book was rendered here")
    print("\n".join(sorted(set(broken))) or f"{len(pages)} pages, {checked} links, no link is broken")
    sys.exit(bool(broken))


main()
