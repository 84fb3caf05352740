"""A preprocessor of mdBook (see book.toml): gives each page of the book the path of its file in the repository.

Pages of docs/ move to docs/ in the book, and the pages that book.toml names beside them become chapters. Then every link
from page to page works as it stands. A link to a file that is not a page becomes its text and the file's path.
"""

import json
import posixpath
import re
import sys

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^()\s]+)\)")


def main():
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0)
    context, book = json.load(sys.stdin)
    settings = context["config"]["preprocessor"]["repository"]
    src = context["config"]["book"]["src"]
    chapters = list(walk(book["items"]))
    for chapter in chapters:
        for key in ("path", "source_path"):
            chapter[key] = chapter[key] and posixpath.join(src, chapter[key])
    outside = {path: page(context["root"], path) for path in [settings["first"], *settings["last"]]}
    book["items"].insert(0, {"Chapter": outside[settings["first"]]})
    book["items"].append({"PartTitle": "Repository"})
    book["items"].extend({"Chapter": outside[path]} for path in settings["last"])
    chapters.extend(outside.values())
    pages = {chapter["path"] for chapter in chapters}
    for chapter in chapters:
        chapter["content"] = outside_of_code(chapter["content"], lambda text: links(text, chapter["path"], pages, src))
    json.dump(book, sys.stdout)


def walk(items):
    """All chapters, at any depth."""
    for item in items:
        if isinstance(item, dict) and "Chapter" in item:
            yield item["Chapter"]
            yield from walk(item["Chapter"]["sub_items"])


def page(root, path):
    """A chapter from a file of the repository; its heading is its name."""
    with open(posixpath.join(root, path), encoding="utf-8") as file:
        content = file.read()
    name = next(line for line in content.splitlines() if line.startswith("# "))[2:]
    return {"name": name, "content": content, "number": None, "sub_items": [], "path": path, "source_path": path, "parent_names": []}


def outside_of_code(content, change):
    """The text with a change everywhere but in fenced code."""
    parts = re.split(r"(^```.*?^```$)", content, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else change(part) for part in parts)


def links(text, path, pages, src):
    """The text of a page with links that work in the book."""

    def link(found):
        image, label, target = found.groups()
        file, _, _ = target.partition("#")
        if not file or ":" in file:
            return found[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
        if file in pages:
            return found[0]
        if image:
            # mdBook copies files from the folder of its sources to the top of the book.
            return f"![{label}]({posixpath.relpath(posixpath.relpath(file, src), posixpath.dirname(path) or '.')})"
        return f"`{file}`" if label in (file, target) else f"{label} (`{file}`)"

    return LINK.sub(link, text)


main()
