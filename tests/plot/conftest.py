"""The data set that is drawn."""

from __future__ import annotations

import pytest

from fastsoftmax.data.readers import read


@pytest.fixture(scope="package")
def iris():
    return read("iris")
