"""No logged text can forge a line or control a terminal."""

import io
import logging
import random
import re
import unicodedata

import pytest
from flask_asgi import TextFormatter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FORGED = "2026-11-26 12:00:00,000 INFO    tests: forged"
BREAKS = [
    *(chr(code) for code in range(0x20)),
    *(chr(code) for code in range(0x7F, 0xA0)),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff",
    "\ud800",
    "\udfff",
    "\r\n",
    "\x1b[2K\x1b[1G",
]
TURNS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
RECORD = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (ERROR|WARNING|INFO) ")


class HostileError(Exception):
    """An error with the text of a client."""


@pytest.fixture
def root() -> logging.Logger:
    """A logger without a parent: pytest cannot keep its lines, as they are not UTF-8."""
    return logging.Logger(__name__, logging.INFO)  # noqa: LOG001 - without a parent


def log_everywhere(logger: logging.Logger, text: str) -> None:
    """Logs `text` in every place of a record that a formatter writes."""
    error = HostileError(text)
    error.add_note(text)
    logger.error("%s", text, exc_info=error)
    logger.warning(text.replace("%", "%%"), extra={"request_id": text})
    logger.info("said", stack_info=True)


def written_by(logger: logging.Logger, *texts: str) -> str:
    """Returns the formatted lines of these texts, each in three records."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    for text in texts:
        log_everywhere(logger, text)
    logger.removeHandler(handler)
    return stream.getvalue()


def assert_no_line_is_forged(written: str, records: int) -> None:
    """Checks that every line that does not begin with a space is a record."""
    lines = [line for line in written.split("\n")[:-1] if not line.startswith("  ")]
    assert len(lines) == records
    assert all(map(RECORD.match, lines))
    assert written.splitlines() == written.split("\n")[:-1]
    assert not {unicodedata.category(char) for char in written if char != "\n"} & {"Cc", "Cs"}
    assert not TURNS & set(written)


def test_no_character_that_breaks_lines_forges_a_line(root: logging.Logger) -> None:
    texts = [f"a{each}{FORGED}" for each in BREAKS]

    assert_no_line_is_forged(written_by(root, *texts), 3 * len(texts))


def test_no_mixture_of_such_characters_forges_a_line(root: logging.Logger) -> None:
    chance = random.Random(7)  # noqa: S311 - the same texts in every run
    alphabet = [*BREAKS, FORGED, "a", " ", "\t", "%s", "{}", "é", "\N{GREEN APPLE}"]
    texts = ["".join(chance.choices(alphabet, k=12)) for _ in range(100)]

    assert_no_line_is_forged(written_by(root, *texts), 3 * len(texts))


# The fixture has no state.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=st.text(st.characters(codec=None, exclude_categories=())))
def test_no_text_forges_a_line(root: logging.Logger, text: str) -> None:
    assert_no_line_is_forged(written_by(root, text), 3)


class Recording(logging.Handler):
    """Keeps records as the standard library formats them."""

    def __init__(self) -> None:
        """Starts without records."""
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a record."""
        self.seen.append(self.format(record))


@pytest.mark.parametrize("others_first", [True, False])
def test_a_traceback_is_indented_only_for_its_handler(
    root: logging.Logger, *, others_first: bool
) -> None:
    stream = io.StringIO()
    handler, others = logging.StreamHandler(stream), Recording()
    handler.setFormatter(TextFormatter("%(message)s"))
    root.handlers = [others, handler] if others_first else [handler, others]

    log_everywhere(root, "plain")

    written = stream.getvalue()
    assert "HostileError: plain\n  plain\n" in written  # the second line is the note
    assert "\n  Stack (most recent call last):\n    File " in written
    assert "HostileError: plain\nplain" in others.seen[0]
