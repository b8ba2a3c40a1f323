import logging

import pytest


@pytest.fixture(autouse=True)
def logger():
    """Put the library's logger back, which a step points to its own output."""
    log = logging.getLogger("longtail")
    yield log
    log.handlers, log.level, log.propagate = [], logging.NOTSET, True
