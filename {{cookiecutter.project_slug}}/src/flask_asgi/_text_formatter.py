"""Logs as text for people, in which nobody can make up a line."""

import logging
import re

from ._redaction import redacted

# Control characters, line separators, marks that turn the direction of writing, and surrogates,
# which no terminal and no file can take: what could make a text look like another line.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


class TextFormatter(logging.Formatter):
    """Writes a record as one line, and each line of its traceback indented below it.

    So a line that does not begin with a space begins a record, whatever was logged: a client's
    text, such as one in the message of an exception, cannot make up a line. A record with a
    `request_id` has it at the end of the line.

    Values that look secret are written as ``[redacted]``, as in `JsonFormatter`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        # `logging.Formatter.format` would share the text of a traceback with other formatters.
        record.message = redacted(record.getMessage().rstrip("\n"))
        record.asctime = self.formatTime(record)
        line = self.formatMessage(record)
        if request_id := getattr(record, "request_id", None):
            line += f" request_id={request_id}"
        parts = [_escaped(line)]
        if record.exc_info:
            parts.append(_indented(self.formatException(record.exc_info)))
        if record.stack_info:
            parts.append(_indented(self.formatStack(record.stack_info)))
        return "\n".join(parts)


def _escaped(text: str) -> str:
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _indented(text: str) -> str:
    return "\n".join(f"  {_escaped(line)}" for line in redacted(text).split("\n"))
