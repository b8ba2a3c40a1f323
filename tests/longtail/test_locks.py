import logging
import threading

import pytest

from longtail.locks import exclusive


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "work"


def test_second_owner_waits_for_the_first(path, caplog):
    caplog.set_level(logging.WARNING)
    order = []

    def second():
        with exclusive(path):
            order.append("second")

    with exclusive(path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert "another process does the same" in caplog.text


def test_owner_that_failed_lets_go(path):
    with pytest.raises(KeyError), exclusive(path):
        raise KeyError
    with exclusive(path):
        pass
