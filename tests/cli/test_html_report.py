"""Law: `fit --report` writes one page that loads nothing, says what the fit said, and escapes names."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pandas
import pytest
from typer.testing import CliRunner

from fastsoftmax.cli.app import app

HOSTILE = "<script>alert('x')</script>"
VOID = {"meta", "path", "circle", "polyline"}


class Page(HTMLParser):
    """The texts of a page, and its elements; an element that is not closed in its turn is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.outside = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [
            value for name, value in attrs if name in ("src", "href", "srcset", "onload", "onclick")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A table to fit and one to test on, whose names are no friend's."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({HOSTILE: rng.normal(size=300), "a & b": rng.normal(size=300)})
    frame["label"] = np.where(frame[HOSTILE] + rng.logistic(size=300) > 0, 'yes "<i>"', "no")
    frame[:200].to_csv("fit.csv", index=False)
    frame[200:].to_csv("other.csv", index=False)
    return tmp_path


def run(*arguments):
    done = CliRunner().invoke(app, ["fit", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_page_says_what_the_fit_said(files):
    said = json.loads(
        run("fit.csv", "--target", "label", "--valid", "other.csv", "--report", "p.html", "--json")
    )
    text = (files / "p.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.outside
    assert not {"script", "link", "img", "i", "b>"} & set(page.tags)
    shown = " ".join(page.texts)
    for part in (
        HOSTILE, "a & b", 'yes "<i>"', f"{said['test_accuracy']:.2%}", f"{said['test_log_loss']:.4g}",
        f"{said['objective']:.8g}", f"of {said['test_rows']:,} rows", "calibration error",
    ):  # fmt: skip
        assert part in shown, part
    assert page.tags.count("svg") == 2
    assert said["report"] == "p.html"


def test_many_classes_and_several_labels_have_a_page(files):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(400, 3)), np.arange(400) % 40
    np.savez("many.npz", X=X, y=y)
    np.savez("several.npz", X=X, y=(X @ rng.normal(size=(3, 4)) > 0).astype(float))
    run("many.npz", "--report", "many.html")
    assert "taken for" in (files / "many.html").read_text(encoding="utf-8")
    run("several.npz", "--loss", "sigmoid", "--report", "several.htm")
    several = Page((files / "several.htm").read_text(encoding="utf-8"))
    assert "Rows have several labels." in several.texts
    assert several.tags.count("svg") <= 1


def test_another_suffix_is_refused(files):
    done = CliRunner().invoke(app, ["fit", "iris", "--report", "p.pdf"])
    assert done.exit_code == 2
