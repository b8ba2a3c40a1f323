"""Run independent pieces of work on all processors, and hand out their results in order."""

import functools
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

Result = TypeVar("Result")


def count_threads() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(function: Callable[[int], Result], n_tasks: int) -> Iterator[Result]:
    """Yield `function(0)`, `function(1)`, ... in order, computed by threads that run a little ahead.

    Each task's matrix products run on one thread: tasks are the parallelism, and a product of fixed shape on one
    thread has the same bits on any machine of the same kind, however many processors it has.

    Args:
        function: Work on the task of a given number; NumPy releases the interpreter lock in what takes long.
        n_tasks: Number of tasks.

    Yields:
        Results in order of task number. At most two more than the number of threads are held at once.
    """
    n_threads = min(count_threads(), n_tasks)
    with _controller().limit(limits=1, user_api="blas"):
        if n_threads <= 1:
            yield from map(function, range(n_tasks))
            return
        with ThreadPoolExecutor(n_threads) as pool:
            pending: deque[Future[Result]] = deque()
            try:
                for task in range(n_tasks):
                    pending.append(pool.submit(function, task))
                    if len(pending) > n_threads + 1:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
