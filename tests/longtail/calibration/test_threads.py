import threading
import time

import pytest

from longtail.calibration import threads


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_results_come_in_order(monkeypatch, n_threads):
    monkeypatch.setattr(threads, "count_threads", lambda: n_threads)

    def work(task):
        time.sleep(0.002 * (task % 3))
        return task

    assert list(threads.ordered_map(work, 20)) == list(range(20))
    assert list(threads.ordered_map(work, 0)) == []


def test_work_stays_a_bounded_number_of_tasks_ahead(monkeypatch):
    monkeypatch.setattr(threads, "count_threads", lambda: 2)
    started = []
    results = threads.ordered_map(started.append, 100)
    next(results)
    time.sleep(0.05)
    assert len(started) <= 2 + 2
    results.close()
    assert len(started) <= 2 + 2


def test_an_error_in_a_task_is_raised_and_ends_the_threads(monkeypatch):
    monkeypatch.setattr(threads, "count_threads", lambda: 2)
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        list(threads.ordered_map(lambda task: 1 // (3 - task), 100))
    assert threading.active_count() == before


def test_the_number_of_blas_threads_is_restored():
    controller = threads._controller()
    before = [library["num_threads"] for library in controller.info()]
    list(threads.ordered_map(lambda task: task, 4))
    assert [library["num_threads"] for library in controller.info()] == before


def test_there_is_at_least_one_thread():
    assert threads.count_threads() >= 1
