"""The lists that a large JSON object holds, record by record, in bounded memory.

Python's own decoder reads each record: it takes the tokens NaN and Infinity, which some writers emit, and
says where it failed.
"""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

CHUNK_BYTES: Final = 1 << 20
MAX_RECORD_BYTES: Final = 64 << 20
LONGEST_TAIL: Final = 2
"""Characters after a whole number that make no number of more digits yet: in `1e+5` those of `e+`."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_AFTER_RECORD: Final = re.compile(r"[ \t\n\r]*([,\]])[ \t\n\r]*")


class BrokenJsonError(ValueError):
    """A file that is no JSON object, or only the beginning of one; the message says at which byte."""


def json_lists(path: Path) -> Iterator[tuple[str, Iterator[Any] | None]]:
    """Read the members of a JSON object one after the other.

    Args:
        path: The file: UTF-8, with or without a byte order mark.

    Yields:
        The name of each member, and the elements of its list, or None if it is no list. Elements that are not
        taken before the next member is asked for are read and dropped.

    Raises:
        BrokenJsonError: if the file holds no JSON object, ends early, is not UTF-8, names a member twice, or has
            a record of more than 64 MB.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as stream:
        text = _Text(stream)
        names: set[str] = set()
        text.expect("{")
        more = text.peek() != "}"
        while more:
            name = text.value()
            if not isinstance(name, str) or name in names:
                raise text.broken(f"a name that is new is expected, found {name!r}")
            names.add(name)
            text.expect(":")
            if text.peek() == "[":
                records = text.elements()
                yield name, records
                for _ in records:
                    pass
            else:
                text.value()
                yield name, None
            more = text.peek() == ","
            if more:
                text.expect(",")
        text.expect("}")
        if text.peek():
            raise text.broken("the object is complete, but the file goes on")


class _Text:
    """A window on the file's text, which moves on as values are read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._decode = json.JSONDecoder().raw_decode
        self._bytes_read = 0
        self._text = ""
        self._at = 0
        self._is_complete = False
        if self.peek() == "\ufeff":
            self._at += 1

    def peek(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # pyright: ignore[reportOptionalMemberAccess] - it matches nothing, too
            if self._at < len(self._text):
                return self._text[self._at]
            if self._is_complete:
                return ""
            self._read_on(CHUNK_BYTES)

    def expect(self, mark: str) -> None:
        """Step over one character.

        Raises:
            BrokenJsonError: if another one is there.
        """
        found = self.peek()
        if found != mark:
            raise self.broken(f"{mark!r} is expected, found {found!r}" if found else f"it ends where {mark!r} is due")
        self._at += 1

    def elements(self) -> Iterator[Any]:
        """The elements of the list that begins here."""
        self.expect("[")
        if self.peek() == "]":
            self.expect("]")
            return
        while True:
            yield self.value()
            after = _AFTER_RECORD.match(self._text, self._at)
            if after is None:
                after = self._after_record()
            self._at = after.end()
            if after[1] == "]":
                return

    def _after_record(self) -> re.Match[str]:
        if self.peek() not in (",", "]"):
            raise self.broken("',' or ']' is expected")
        after = _AFTER_RECORD.match(self._text, self._at)
        assert after is not None
        return after

    def value(self) -> Any:  # noqa: ANN401 - any JSON
        """The value that begins here.

        Raises:
            BrokenJsonError: if there is none.
        """
        self.peek()
        wanted = CHUNK_BYTES
        while True:
            try:
                value, end = self._decode(self._text, self._at)
                if self._is_complete or end + LONGEST_TAIL < len(self._text):
                    self._at = end
                    return value
            except (ValueError, RecursionError) as error:
                if self._is_complete or wanted > MAX_RECORD_BYTES or isinstance(error, RecursionError):
                    raise self._no_value(error) from error
            self._read_on(wanted)
            wanted *= 2

    def _no_value(self, error: ValueError | RecursionError) -> BrokenJsonError:
        if isinstance(error, json.JSONDecodeError):
            self._at = error.pos
            return self.broken(error.msg)
        return self.broken(str(error))

    def _read_on(self, count: int) -> None:
        data = self._stream.read(count)
        unfinished = len(self._decoder.getstate()[0])
        try:
            new = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            position = self._bytes_read - unfinished + error.start
            raise BrokenJsonError(f"at byte {position}: it is not UTF-8 ({error.reason})") from error
        self._bytes_read += len(data)
        self._is_complete = not data
        self._text = self._text[self._at :] + new
        self._at = 0

    def broken(self, reason: str) -> BrokenJsonError:
        """The error that names the place that has been reached."""
        unread = len(self._text[self._at :].encode()) + len(self._decoder.getstate()[0])
        return BrokenJsonError(f"at byte {self._bytes_read - unread}: {reason}")
