"""Logs as JSON, one object on one line for each record, without secrets."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from ._memo import Memo
from ._redaction import has_form, is_secret, may_have_secrets, without_secrets

# The attributes of every record, and uvicorn's coloured copy of its message. Others are `extra`.
_OF_EVERY_RECORD = {
    *vars(logging.makeLogRecord({})),
    *("message", "asctime", "color_message", "taskName"),
}

_encode = json.JSONEncoder(default=str, allow_nan=False).encode


class JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object (RFC 8259) on one line.

    Its members are `time` (RFC 3339, UTC), `level`, `logger`, `message`, those of `extra`, and
    `exc_info` and `stack_info` as text if the record has them. An `extra` that has one of these
    names is written with an underscore after its name. A value of another type than JSON's is
    written as `str` returns it.

    Values that look secret are written as ``[redacted]``: `Authorization` and cookies, passwords
    and tokens by their names, credentials in URLs.
    """

    _second = (0, "1970-01-01T00:00:00")  # the last record's; mostly this one's too

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line, without its end."""
        fields: dict[str, Any] = {
            "time": f"{self._second_of(record.created)}.{int(record.msecs):03}+00:00",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage().rstrip("\n"),
        }
        if record.exc_info:
            # Formatted again for this handler: `logging` would share the text with other handlers.
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
        except (TypeError, ValueError):  # keys other than text, NaN, a circular reference
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
    """Tell whether no value in a line with this many `members` has the form of a secret.

    Secrets follow a colon, an equals sign, an opening bracket or the name of a scheme, or are in a
    list as the pair of a header. This scans the line once. A search for each word that names a
    secret would take longer than writing the line.
    """
    lowered = line.lower()
    # A colon follows the name of each member, and the time contains three.
    has_colon = lowered.count(":") != members + 3
    return not (has_colon or "[" in lowered or has_form(lowered))


def _has_secret_name(fields: dict[str, Any]) -> bool:
    names = tuple(fields)
    if (found := _names.get(names)) is None:
        found = _names.keep(names, any(map(is_secret, names)))
    return found


# Programs log the same few sets of names.
_names: Memo[tuple[str, ...], bool] = Memo(most=256, longest=1024)
