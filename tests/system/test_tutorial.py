"""The Python of the tutorial and of the README is run as it stands there, so that it cannot rot."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs/tutorial/first-loop.md", ROOT / "README.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\n((?:    [^\n]*\n)+))?", re.MULTILINE | re.DOTALL)
FIGURE = re.compile(r"\d+ ms")  # depends on the machine


def blocks(page: Path) -> list[tuple[str, str]]:
    """Each Python block of a page, with the output that stands below it (indented by four), if any."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    return [(code, re.sub(r"^    ", "", said or "", flags=re.MULTILINE)) for code, said in BLOCK.findall(text)]


def expected(page: Path) -> list[str]:
    """The lines that a page says are printed, figures that depend on the machine left out."""
    return [FIGURE.sub("... ms", line) for _, said in blocks(page) for line in said.splitlines()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs_as_written(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every Python block, one after the other in an empty folder, runs and prints what the page says."""
    if not blocks(page):
        pytest.skip(f"{page.name} has no Python block")
    program = tmp_path / "page.py"
    program.write_text("\n".join(code for code, _ in blocks(page)), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    left = runpy.run_path(str(program)).get("loop")
    if left is not None:
        left.close()  # a short example need not
    printed = [FIGURE.sub("... ms", line) for line in capsys.readouterr().out.splitlines()]
    missing = [line for line in expected(page) if line not in printed]
    assert missing == [], f"{page.name} says it prints these; it printed {printed}"


def test_the_tutorial_has_python_with_its_output() -> None:
    """The blocks are found: a change of layout must not turn the check above into none."""
    found = blocks(PAGES[0])
    assert len(found) >= 5
    assert sum(bool(said) for _, said in found) >= 4


def test_the_tutorials_settings_are_settings() -> None:
    """The loop.toml of the tutorial is accepted, and says what its Python says."""
    from hotloop.config import own_table, parse
    from hotloop.verticals.vectors import VectorsConfig

    text = PAGES[0].read_text(encoding="utf-8")
    found = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    config = parse(found[0])
    assert config.vertical == "vectors"
    own = own_table(config, "vectors", VectorsConfig)
    assert own.labels == ("ok", "worn")
    assert own.columns == len(own.center) == len(own.scale) == 2


def anchors(page: Path) -> set[str]:
    """What a link can point to within a page: its headings, as a browser of Markdown names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere() -> None:
    """Each relative link of docs/ and the README names a file that is there, and a heading in it."""
    broken = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, heading = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            if "://" in link or (target.exists() and not heading):
                continue
            if not target.is_file() or heading not in anchors(target):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []
