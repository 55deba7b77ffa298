"""Law: the reference has every public name once, and the page of benchmarks every result that is kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import fastsoftmax
from docs import benchmarks_page, pages

if TYPE_CHECKING:
    from pathlib import Path

NOT_OURS = {"__version__"}


def test_every_public_name_is_in_the_reference():
    text = (pages.FOLDER / "reference.md").read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```\{eval-rst\}\n(.*?)```", text, re.DOTALL))
    listed = []
    for part in blocks.split(".. currentmodule:: ")[1:]:
        module, _, names = part.partition("\n")
        listed += re.findall(r"^   (\w+)$", names, re.MULTILINE) if module == "fastsoftmax" else []
    assert sorted(listed) == sorted(set(fastsoftmax.__all__) - NOT_OURS)


def test_every_result_is_on_the_page_of_benchmarks(tmp_path):
    pytest.importorskip("rich")
    kept = {path.stem for path in benchmarks_page.FOLDER.glob("*.json")}
    assert {shown.name for shown in benchmarks_page.SHOWN} == kept
    page = tmp_path / "benchmarks.md"
    benchmarks_page.write(page)
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert len(rows) > 100
    markup = re.compile(r"\[/?(bold|dim|green|red|yellow)")  # the terminal's
    assert not [row for row in rows if markup.search(row)]


@pytest.mark.parametrize("path", sorted((pages.FOLDER / "gallery").glob("*.py")), ids=lambda path: path.stem)
def test_a_script_has_a_title_and_parts(path: Path):
    text = path.read_text(encoding="utf-8")
    title, rule = text.splitlines()[1:3]
    assert set(rule) == {"="}
    assert len(rule) == len(title)
    assert "# %%" in text
    assert "\nfigure" in text  # a picture
