"""Reading files of gigabytes line by line: hashed as they are read, plain or gzip, in bounded memory."""

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from market_sim.errors import InputError

BUFFER = 2**20

LONGEST_LINE = 2**28
"""Bytes of a line that are given out; what is beyond them is passed over, for memory has an end."""

Advance = Callable[[int], None]
"""Told how many bytes of the file have been read since it was last told."""


class WatchedFile:
    """A file that hashes its bytes as they are read and tells how many there were."""

    def __init__(self, path: Path, advance: Advance | None = None) -> None:
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise unreadable(path, error) from None
        except ValueError as error:  # a name that no file can have
            raise InputError(f"{str(path)!r}: cannot be read: {error}") from None
        self._path = path
        self._advance = advance
        self._hash = hashlib.sha256()
        self.n_bytes = 0

    def __enter__(self) -> "WatchedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer with the next bytes; how many there were, 0 at the end."""
        try:
            n = self._file.readinto(buffer) or 0
        except OSError as error:
            raise unreadable(self._path, error) from None
        self._hash.update(buffer[:n])
        self.n_bytes += n
        if self._advance is not None and n:
            self._advance(n)
        return n

    def sha256(self) -> str:
        """The hash of the whole file; reads what is left of it."""
        rest = memoryview(bytearray(BUFFER))
        while self.readinto(rest):
            pass
        return self._hash.hexdigest()


class _Bytes(io.RawIOBase):
    """A WatchedFile as a stream; closing the stream leaves the file open."""

    def __init__(self, file: WatchedFile) -> None:
        self._watched = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._watched.readinto(memoryview(buffer))


class _Unpacked(io.RawIOBase):
    """The contents of a packed stream, as far as they go: what comes before a break is given out first."""

    def __init__(self, packed: "io.BufferedReader[Any]") -> None:
        self._contents = gzip.GzipFile(fileobj=packed, mode="rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._contents.read1(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def unreadable(path: Path, error: OSError) -> InputError:
    """The refusal of a file that the system does not give."""
    if path.is_dir():
        return InputError(f"{path}: is a folder, not a file")
    if isinstance(error, FileNotFoundError):
        return InputError(f"{path}: there is no such file")
    return InputError(f"{path}: cannot be read: {error.strerror}")


def is_gzip(path: Path) -> bool:
    """By its name."""
    return path.name.casefold().endswith(".gz")


def unpacked(path: Path, file: WatchedFile) -> "io.BufferedReader[Any]":
    """The file's contents as a stream of bytes."""
    plain = io.BufferedReader(_Bytes(file), BUFFER)
    if not is_gzip(path):
        return plain
    return io.BufferedReader(_Unpacked(plain), BUFFER)


class CutError(Exception):
    """A compressed file that ends before it should, or is none."""


def too_long(line: bytes) -> str | None:
    """What is wrong with a line of `lines_of` that is not given out whole; None otherwise."""
    return f"is longer than {LONGEST_LINE:,} bytes" if len(line) >= LONGEST_LINE else None


def lines_of(path: Path, file: WatchedFile) -> Iterator[bytes]:
    """The lines of a file, without their ends; raises CutError where a compressed one breaks off."""
    stream, first = unpacked(path, file), True
    try:
        while line := stream.readline(LONGEST_LINE):
            yield line.removeprefix(b"\xef\xbb\xbf") if first else line
            first = False
            while len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                line = stream.readline(LONGEST_LINE)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CutError(str(error)) from None
