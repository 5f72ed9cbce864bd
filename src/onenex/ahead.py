"""Reading one stack ahead of the model, and writing one behind it: disk and network work while the processor does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from onenex.checks import check_size, read_stack
from onenex.series import FloatImages, Series, SliceStack

MOST_PIXELS = 2**27
"""Of a stack (0.5 GiB as float32) that is read or written beside another one: memory holds at most three, one larger stack is alone."""


class Ahead:
    """Reads the stack that comes next in a thread of its own. What went wrong there is raised where the stack is taken."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="onenex-read")
        self._stack: SliceStack | None = None
        self._images: Future[FloatImages] | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is being read, and forget it."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, series: Series, stack: SliceStack) -> None:
        """Start to read a stack, unless it's too large to lie beside another one."""
        if _fits(stack):
            self._stack, self._images = stack, self._pool.submit(_read, series, stack)

    def take(self, series: Series, stack: SliceStack) -> FloatImages:
        """Return a stack, read already or now.

        Raises
        ------
        OneNexError
            As `check_size` and `read_stack`.
        """
        begun, self._stack, self._images = self._images if self._stack is stack else None, None, None
        return _read(series, stack) if begun is None else begun.result()


class Behind:
    """Does one thing at a time in a thread of its own, such as writing a stack. What went wrong is raised at the next one or at the end."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="onenex-write")
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Wait for the last thing; raise what went wrong with it, unless something else did."""
        self._pool.shutdown(wait=True)
        if error is None:
            self.wait()

    def do(self, action: Callable[..., None], stack: SliceStack, *given: Any) -> None:
        """Start action(stack, …) once the one before is over; a large stack is waited for."""
        self.wait()
        self._last = self._pool.submit(action, stack, *given)
        if not _fits(stack):
            self.wait()

    def wait(self) -> None:
        """Wait until all is done."""
        last, self._last = self._last, None
        if last is not None:
            last.result()


def _read(series: Series, stack: SliceStack) -> FloatImages:
    check_size(stack)
    return read_stack(series, stack)


def _fits(stack: SliceStack) -> bool:
    return len(stack.frames) * stack.rows * stack.columns <= MOST_PIXELS
