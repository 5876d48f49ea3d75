"""The blocks of the docs' pages, and the marks that say how each is tried out.

A mark is an HTML comment right before a block (or before another mark); readers do not see it.

    <!-- file: shop.yml -->         the block is written to this file of the page's folder, and checked by its kind
    <!-- exit: 11 -->               what the last command of the block ends with, when it is not 0
    <!-- for: 3 -->                 commands that go on: each line is run by itself, and stopped after so many seconds
    <!-- output -->                 a text block: the lines that the block before printed, in this order; `…` is anything
    <!-- same as: PATH -->          it is this file of the repository
    <!-- steps: github -->          a workflow: it fits its schema, and its steps run, in order; or `gitlab`
    <!-- within: Stack -->          a part of a manifest: it is checked within a small whole one
    <!-- not run: REASON -->        it cannot be run here: its form is checked, with every `skep` command line in it
    <!-- only read: REASON -->      it is no file of ours: its form is checked, if it has one

A comment `<!-- setup` with commands on the lines below is run as a block is, and shown to nobody. `<!-- no server -->`
anywhere says that the page starts its own. In commands `01k…` is what a hidden block has put into the variable ID, and a key of a
host that is cut short, `'HOST ssh-ed25519 AAAA…'`, what one has put into HOST_KEY.

Of `skep` commands that a sentence names in passing the form is checked.
"""

import re
from dataclasses import dataclass, field


class Wrong(Exception):
    """What is wrong, and where."""


@dataclass
class Block:
    """One fenced block, or a hidden one."""

    page: str
    line: int
    language: str
    text: str
    marks: dict = field(default_factory=dict)

    @property
    def place(self):
        return f"{self.page}:{self.line}"


MARK = re.compile(r"<!-- (file|exit|for|output|same as|steps|within|not run|only read)(?:: (.+?))? -->$")
FENCE = re.compile(r"( *)(`{3,})(\w*)(.*)$")


def read(path, name):
    """The blocks of a page, in order, and whether it wants a server."""
    lines = path.read_text().split("\n")
    blocks, marks, at, server = [], {}, 0, True
    while at < len(lines):
        line = lines[at].strip()
        at += 1
        if line == "<!-- no server -->":
            server = False
            continue
        if line == "<!-- setup":
            end = lines.index("-->", at)
            blocks.append(Block(name, at, "sh", "\n".join(lines[at:end]) + "\n"))
            at = end + 1
            continue
        if found := MARK.match(line):
            marks[found[1]] = found[2] or ""
            continue
        if found := FENCE.match(lines[at - 1]):
            indent, fence, language = len(found[1]), found[2], found[3]
            begun = at
            while at < len(lines) and lines[at].strip() != fence:
                at += 1
            if at == len(lines):
                raise Wrong(f"{name}:{begun}: the block has no end")
            text = "".join(part[min(indent, len(part) - len(part.lstrip())) :] + "\n" for part in lines[begun:at])
            at += 1
            if not language:
                raise Wrong(f"{name}:{begun}: the block has no language; `text` is one")
            blocks.append(Block(name, begun, language, text, marks))
            marks = {}
        elif lines[at - 1].startswith("    ") and at > 1 and not lines[at - 2].strip() and not listed(lines[: at - 1]):
            raise Wrong(f"{name}:{at}: a block without a fence: nobody knows how to try it")
        elif line and marks:
            raise Wrong(f"{name}:{at}: marks stand right before a block: {', '.join(marks)}")
    if marks:
        raise Wrong(f"{name}: marks without a block: {', '.join(marks)}")
    return blocks, server


def said(path, name):
    """The commands of `skep` that sentences name, which are no blocks."""
    text, fence, lines = path.read_text(), None, []
    for line in re.sub(r"<!--.*?-->", lambda hidden: "\n" * hidden[0].count("\n"), text, flags=re.S).split("\n"):
        found = FENCE.match(line)
        lines.append("" if fence or found else line)
        if found:
            fence = None if fence == found[2] else fence or found[2]
    text = "\n".join(lines)
    for found in re.finditer(r"`(skep\s[^`]+)`", text):
        yield Block(name, text.count("\n", 0, found.start()) + 1, "sh", re.sub(r"\s+", " ", found[1]))


def listed(lines):
    """Whether what comes next belongs to an item of a list."""
    before = next((line for line in reversed(lines) if line.strip()), "")
    return bool(re.match(r"\s*([-*¹²³]|\d+\.) ", before)) or before.startswith("  ")


def all_of(root):
    """Every page that has blocks to try: the docs, and the READMEs of the repository."""
    found = sorted(p for p in (root / "docs").rglob("*.md"))
    found += [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "examples").rglob("*.md")), root / "charts/skep/README.md"]
    return [str(path.relative_to(root)) for path in found if path.exists()]
