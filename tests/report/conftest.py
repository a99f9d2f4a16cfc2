"""The browser that the tests of the report share."""

import pytest

from benchmarks import browser as headless


@pytest.fixture(scope="module")
def chromium():
    with headless.chromium() as browser:
        yield browser
