"""Builds the book, and follows every link of it and of the repository's other pages."""

import html.parser
import re
import shutil
import subprocess
import urllib.parse
from pathlib import Path

from .pages import Wrong


class Page(html.parser.HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if name := attributes.get("id") or (tag == "a" and attributes.get("name")):
            self.anchors.add(name)
        link = attributes.get("href") if tag in ("a", "link") else attributes.get("src")
        if link:
            self.links.append(link)


def check(root, mdbook, place):
    shutil.rmtree(place, ignore_errors=True)
    book = place / "docs"
    built = subprocess.run([mdbook, "build", root / "docs", "-d", book], capture_output=True, text=True, check=False)
    if built.returncode or "WARN" in built.stderr or "ERROR" in built.stderr:
        raise Wrong(f"mdbook: {built.stderr}")
    listed = set(re.findall(r"\]\(([^)]+\.md)\)", (root / "docs/SUMMARY.md").read_text()))
    there = {str(path.relative_to(root / "docs")) for path in (root / "docs").rglob("*.md")} - {"SUMMARY.md"}
    if listed != there:
        raise Wrong(f"docs/SUMMARY.md and the pages differ: {sorted(listed ^ there)}")

    pages, outside, count, broken = {}, set(), 0, []
    for path in book.rglob("*.html"):
        pages[path] = Page(path.read_text())
    for path, page in pages.items():
        # mdBook's own page for what is not found is served from anywhere.
        if path.name in ("404.html", "toc.html", "print.html"):
            continue
        for link in page.links:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                continue
            count += 1
            goal = (path.parent / urllib.parse.unquote(url.path)).resolve() if url.path else path
            if book not in goal.parents and place in goal.parents:
                # A file of the repository: it goes along with the book, beside it.
                source = root / goal.relative_to(place)
                if not source.exists() and source.with_suffix(".md").is_file():
                    # mdBook takes it for one of its pages.
                    source = source.with_suffix(".md")
                    path.write_text(path.read_text().replace(f'href="{link}"', f'href="{link.replace(".html", ".md")}"'))
                if not source.is_file():
                    broken.append(f"{path.relative_to(book)}: {link}: no file of the repository")
                    continue
                outside.add(source)
            elif not goal.is_file():
                broken.append(f"{path.relative_to(book)}: {link}: no such page")
            elif url.fragment and goal in pages and url.fragment not in pages[goal].anchors:
                broken.append(f"{path.relative_to(book)}: {link}: no such heading")
    for source in outside:
        copy = place / source.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    (place / "index.html").write_text('<meta http-equiv="refresh" content="0; url=docs/index.html">\n')

    # Pages outside of the book, and mentions of pages in sources.
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=True)
    for name in tracked.stdout.split():
        path = root / name
        if not path.is_file() or path.suffix in (".png", ".gz", ".br", ".lock") or name.startswith(("dashboard/dist", "docs/")):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        if path.suffix == ".md":
            for link in re.findall(r"\]\(([^)\s]+)\)", text):
                if "://" in link or link.startswith(("#", "mailto:")):
                    continue
                count += 1
                if not (path.parent / link.partition("#")[0]).exists():
                    broken.append(f"{name}: {link}: not there")
        for mention in re.findall(r"(?<![\w/.])docs/[\w/-]+\.md", text):
            count += 1
            if not (root / mention).is_file():
                broken.append(f"{name}: {mention}: not there")
    if broken:
        raise Wrong("links that lead nowhere:\n  " + "\n  ".join(sorted(set(broken))))
    print(f"target/book: {len(there)} pages, {count} links lead somewhere")
