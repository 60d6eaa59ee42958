"""Keeps what C libraries print on stderr off the progress bar.

libsndfile gives no way to mpg123's MPG123_QUIET, and mpg123 prints warnings for every file with a damaged frame or
a stream size that is off by one per cent. So while libsndfile runs, the C library's `stderr` points to the null
device. Only stdio of C code goes by that variable; Python writes to file descriptor 2 and is not touched, nor are
tracebacks and progress bars of other threads.

"In the GNU C Library, stdin, stdout, and stderr are normal variables which you can set just like any others"
(its manual, 12.2 Standard Streams). With another C library they are constants, and nothing is done.
"""

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Inside of the block C code prints nothing on stderr. Nests, and may be entered by many threads at once.

    >>> with quiet():
    ...     ctypes.CDLL(None).perror(b"never seen")
    0
    """
    _SILENCE.enter()
    try:
        yield
    finally:
        _SILENCE.leave()


class _Silence:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._stderr: ctypes.c_void_p | None = None
        self._loud: int | None = None
        self._null: int | None = None
        self._sought = False

    def enter(self) -> None:
        with self._lock:
            if not self._sought:
                self._seek()
            self._inside += 1
            if self._inside == 1 and self._stderr is not None:
                self._stderr.value = self._null

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore()

    def _seek(self) -> None:
        self._sought = True
        if platform.libc_ver()[0] != "glibc":
            return
        library = ctypes.CDLL(None)
        library.fopen.restype = ctypes.c_void_p
        # opened once and never closed: another thread may be printing to it at any time
        self._null = library.fopen(os.fsencode(os.devnull), b"we")
        if self._null:
            self._stderr = ctypes.c_void_p.in_dll(library, "stderr")
            self._loud = self._stderr.value
            os.register_at_fork(after_in_child=self._after_fork)

    def _restore(self) -> None:
        if self._stderr is not None:
            self._stderr.value = self._loud

    def _after_fork(self) -> None:
        # the threads that were inside are not in the child, and one may have held the lock
        self._lock = threading.Lock()
        self._inside = 0
        self._restore()


_SILENCE = _Silence()
