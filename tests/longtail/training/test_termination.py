import os
import signal

from longtail.training.termination import SIGTERM_EXIT, sigterm_flag


def test_the_signal_is_remembered_and_its_handler_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with sigterm_flag() as received:
        assert received == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before
    assert SIGTERM_EXIT == 143
