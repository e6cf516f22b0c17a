"""Writes JSON with orjson, as `StrictProvider` writes it. It needs the extra `orjson`."""

import re
from json.encoder import encode_basestring_ascii
from typing import Any

import orjson
from flask.json.provider import DefaultJSONProvider

from ._strict_json import COMPACT, StrictProvider

# Types that orjson would write differently are left to Flask's `default`.
_OPTIONS = (
    orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
_DEFAULT = DefaultJSONProvider.default

_ESCAPED = re.compile(r"[^\x00-\x7e]+")


class FastProvider(StrictProvider):
    """A `StrictProvider` that writes a large response six times as fast.

    The text is the same, with two exceptions. A float below 0.0001 or from 1e16 on may be written
    in other digits of equal value, such as ``1e16`` for ``1e+16``. An `Enum` is written as its
    value, where `StrictProvider` refuses it. An object that contains None, or a type that orjson
    does not know, takes a little longer than with `StrictProvider`.
    """

    def dumps(self, obj: Any, **kwargs: Any) -> str:  # noqa: ANN401 - any object
        """Return `obj` as JSON.

        Raises:
            ValueError: it contains NaN or an infinity, which JSON lacks (RFC 8259 section 6).
        """
        if kwargs == COMPACT and self.default is _DEFAULT:
            text = self._written(obj)
            if text is not None:
                return text
        return super().dumps(obj, **kwargs)

    def _written(self, obj: object) -> str | None:
        """Return the text by orjson; None where it would differ from Flask's."""
        options = _OPTIONS | (orjson.OPT_SORT_KEYS if self.sort_keys else 0)
        try:
            written = orjson.dumps(obj, _DEFAULT, options)
        except orjson.JSONEncodeError:
            return None
        if b"null" in written:  # orjson writes NaN as null
            return None
        text = written.decode()
        if self.ensure_ascii and not (text.isascii() and "\x7f" not in text):
            return _ESCAPED.sub(lambda match: encode_basestring_ascii(match[0])[1:-1], text)
        return text
