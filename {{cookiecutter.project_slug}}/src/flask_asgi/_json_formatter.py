"""Logs as JSON, one object on one line for each record, without secrets."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from ._memo import Memo
from ._redaction import has_form, is_secret, may_have_secrets, without_secrets

# What every record has, and uvicorn's copy of its message with colours. The rest is `extra`.
_OF_EVERY_RECORD = {
    *vars(logging.makeLogRecord({})),
    *("message", "asctime", "color_message", "taskName"),
}

_encode = json.JSONEncoder(default=str, allow_nan=False).encode


class JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object (RFC 8259) on one line.

    Its members are `time` (RFC 3339, UTC), `level`, `logger`, `message`, what was given as
    `extra`, and `exc_info` and `stack_info` as text if there are any. An `extra` that has one of
    these names is written with an underscore behind it. What JSON does not know is written as
    `str` gives it.

    Values that look secret are written as ``[redacted]``: `Authorization` and cookies, passwords
    and tokens by their names, credentials in URLs.
    """

    _second = (0, "1970-01-01T00:00:00")  # that of the record before, mostly

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line, without its end."""
        fields: dict[str, Any] = {
            "time": f"{self._second_of(record.created)}.{int(record.msecs):03}+00:00",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage().rstrip("\n"),
        }
        if record.exc_info:
            # The traceback is of this handler alone: `logging` would share it with others.
            fields["exc_info"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack_info"] = self.formatStack(record.stack_info)
        extra = {
            name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD
        }
        if fields.keys().isdisjoint(extra):  # nearly always
            fields |= extra
        else:
            for name, value in extra.items():
                fields[f"{name}_" if name in fields else name] = value
        try:
            line = _encode(fields)
        except (TypeError, ValueError):  # keys that are no text, NaN, a circle
            fields = {name: _plain(value) for name, value in fields.items()}
            line = _encode(fields)
        if _is_plain(line, len(fields)) and not _has_secret_name(fields):  # nearly always
            return line
        return _encode(without_secrets(fields)) if may_have_secrets(line) else line

    def _second_of(self, created: float) -> str:
        second, text = self._second
        if second != int(created):
            second = int(created)
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = second, text
        return text


def _plain(value: object) -> object:
    """Return the value, or its text if JSON cannot hold it."""
    try:
        _encode(value)
    except (TypeError, ValueError):
        return str(value)
    return value


def _is_plain(line: str, members: int) -> bool:
    """Tell whether no value of a line with so many members has a form that secrets have.

    They follow a colon, an equals sign, an opening bracket or the name of a scheme, and the pair
    of a header is in a list. This looks at the line once, where a look for each word that names a
    secret would take longer than to write the line.
    """
    lowered = line.lower()
    # A colon follows the name of each member, and the time has three.
    has_colon = lowered.count(":") != members + 3
    return not (has_colon or "[" in lowered or has_form(lowered))


def _has_secret_name(fields: dict[str, Any]) -> bool:
    names = tuple(fields)
    if (found := _names.get(names)) is None:
        found = _names.keep(names, any(map(is_secret, names)))
    return found


# Programs log the same few sets of names.
_names: Memo[tuple[str, ...], bool] = Memo(most=256, longest=1024)
