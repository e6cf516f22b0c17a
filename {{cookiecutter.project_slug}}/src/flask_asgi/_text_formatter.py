"""Logs as text for people, in which a logged text cannot forge a line."""

import logging
import re

from ._redaction import redacted

# Characters that could make a text look like another line: control characters, line separators,
# marks that change the direction of writing, and surrogates, which no terminal or file accepts.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


class TextFormatter(logging.Formatter):
    """Writes a record as one line, and each line of its traceback indented below it.

    So every line without a leading space begins a record, whatever was logged: a client's text, for
    example in the message of an exception, cannot forge a line. A record with a `request_id` has it
    at the end of the line.

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
