"""Law: a page's code runs as it stands, prints what the page states, and draws the pictures that it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import pages

pytest.importorskip("matplotlib")

MAX_BYTES = 150_000  # of a picture: a clone holds every one that there ever was
IMAGES = "softmax_regression.md"  # the page that ends with real images, where they are available
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in pages.PAGES}


@pytest.fixture
def aside(tmp_path, monkeypatch):
    """An empty current folder, no data sets, no display."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("FASTSOFTMAX_DATA", str(tmp_path))
    return tmp_path


def check(name):
    pages.run(TEXTS[name], name)
    for picture in pages.pictures(TEXTS[name]):
        assert Path(picture).read_bytes().startswith(b"\x89PNG"), picture


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_page(name, aside):
    check(name)


@pytest.mark.data
def test_page_with_real_images(data_dir, aside, monkeypatch):
    monkeypatch.setenv("FASTSOFTMAX_DATA", str(data_dir))
    check(IMAGES)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_what_a_page_refers_to_is_there(name):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", TEXTS[name]):
        if "://" not in target:
            assert (pages.FOLDER / target).exists(), target


def test_pictures_are_small_and_shown():
    kept = {path.name: path.stat().st_size for path in (pages.FOLDER / "pictures").iterdir()}
    shown = {picture for text in TEXTS.values() for picture in pages.pictures(text)}
    assert set(kept) == shown
    assert max(kept.values()) < MAX_BYTES, kept


def test_a_wrong_output_is_noticed(aside):
    codes = ("x = 2\n", ">>> x = x + 1\n>>> x\n3\n", "assert x == 3\n")
    page = "\n".join(f"```python\n{code}```" for code in codes)
    assert pages.run(page, "page")["x"] == 3
    with pytest.raises(AssertionError, match=r"line 6(?s:.*)Expected:\n    4\nGot:\n    3"):
        pages.run(page.replace("\n3\n", "\n4\n"), "page")
    with pytest.raises(AssertionError):
        pages.run(page.replace("x == 3", "x == 5"), "page")
    assert [line for _, line in pages.blocks(page)] == [1, 4, 9]
    commands = (
        "```console\n$ fastsoftmax info a\nfastsoftmax: ... 'a' ...\n$ fastsoftmax info b\n...'b'...\n```\n"
    )
    pages.run(commands, "page")
    with pytest.raises(AssertionError, match=r"page, line 4: \$ fastsoftmax info b"):
        pages.run(commands.replace("'b'", "'c'"), "page")
    assert list(aside.iterdir()) == []
