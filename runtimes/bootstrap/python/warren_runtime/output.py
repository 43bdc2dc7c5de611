"""Standard output and error, unbuffered and counted.

Each write goes to the pipe at once, as on Lambda: what a function printed before it was killed is never lost. The
bytes are counted because the last frame of a call carries a *mark*: how many bytes of output there have been since the
start. The host waits for as many before it writes the END line. A mark may be too small (then a line comes late) but must
never be too large (then the host would wait for bytes that do not exist).
"""

import fcntl
import io
import os
import stat
import struct
import sys
import termios
import threading
import time

_INT = struct.Struct("=i")


class CountingFile(io.FileIO):
    """A descriptor that writes everything it is given and counts it."""

    def __init__(self, descriptor, lock):
        super().__init__(descriptor, "wb", closefd=False)
        self.written = 0
        self.lock = lock

    def write(self, data):
        with self.lock:
            count = super().write(data)
            if count is not None:
                self.written += count
                if count == len(data):
                    return count
            return (count or 0) + self._write_rest(memoryview(data).cast("B")[count or 0 :])

    def _write_rest(self, view):
        """A write cut short by a signal, or a pipe that a child process has made non-blocking."""
        total = len(view)
        while len(view):
            count = super().write(view)
            if count is None:
                time.sleep(0.001)
                continue
            self.written += count
            view = view[count:]
        return total


class Output:
    """Takes the place of `sys.stdout` and `sys.stderr` and knows the mark."""

    def __init__(self):
        # Reentrant: a signal handler may print while the main thread is printing.
        self._lock = threading.RLock()
        self.stdout = self._open(1, "strict")
        self.stderr = self._open(2, "backslashreplace")
        self._files = (self.stdout.buffer, self.stderr.buffer)
        self._pipes = _distinct_pipes((1, 2))
        self._answer = bytearray(_INT.size)
        self._low = 0
        self._own = 0
        self._drained = 0
        os.register_at_fork(after_in_child=self._forked)

    def _open(self, descriptor, errors):
        raw = CountingFile(descriptor, self._lock)
        return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, newline="\n", write_through=True)

    def install(self):
        sys.stdout = sys.__stdout__ = self.stdout
        sys.stderr = sys.__stderr__ = self.stderr

    def _forked(self):
        """The lock may have been held by a thread that the child does not have."""
        self._lock = threading.RLock()
        for file in self._files:
            file.lock = self._lock

    def write_line(self, text):
        """Writes a log entry whatever it contains, and whatever the function has put in the place of `sys.stdout`."""
        if not text.endswith("\n"):
            text += "\n"
        self.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))

    def flush(self):
        """Our own streams hold nothing back; one that the function has put in their place may."""
        for current, ours in ((sys.stdout, self.stdout), (sys.stderr, self.stderr)):
            if current is not ours:
                try:
                    current.flush()
                except Exception:
                    pass

    def mark(self):
        """The largest number of bytes that have certainly been written to both pipes, modulo 2^32.

        Our own writes are counted. Child processes and C code write past us, but what the agent has not read yet can be seen in the
        pipe: it has read at least `_drained`, so at least `_drained` and what is pending has been written.
        """
        # Without the lock a thread is writing just now: its bytes might be seen in the pipe now and counted again later.
        if not self._lock.acquire(blocking=False):
            own = self._written()
            self._low += own - self._own
            self._own = own
            return self._low & 0xFFFF_FFFF
        try:
            pending = self._pending()
            own = self._written()
        finally:
            self._lock.release()
        low = max(self._low + own - self._own, self._drained + pending)
        self._drained = max(self._drained, low - pending)
        self._low = low
        self._own = own
        return low & 0xFFFF_FFFF

    def _written(self):
        return self._files[0].written + self._files[1].written

    def _pending(self):
        total = 0
        try:
            for descriptor in self._pipes:
                fcntl.ioctl(descriptor, termios.FIONREAD, self._answer)
                total += _INT.unpack(self._answer)[0]
        except OSError:
            self._pipes = ()
            return 0
        return total


def _distinct_pipes(descriptors):
    """Both streams may be one pipe, which must not be counted twice; anything but a pipe can't be asked."""
    pipes = {}
    for descriptor in descriptors:
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        if stat.S_ISFIFO(status.st_mode):
            pipes.setdefault((status.st_dev, status.st_ino), descriptor)
    return tuple(pipes.values())
