"""What the programs say of themselves, for people or for programs: lines of text, or of JSON.

An event is a sentence that always reads the same, and its fields beside it: whoever collects the lines finds all of a
conversation by its field. No field and no sentence holds what anybody says.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Literal

Format = Literal["text", "json"]

FORMATS: tuple[Format, ...] = ("text", "json")
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_FIELDS = "antiphon_fields"  # of a record
_configured: Format = "text"
_name = ""  # of this process, in every line


def configure(level: int | str, form: Format = "text") -> None:
    """Sends this process's lines to standard error, from a level on."""
    global _configured
    _configured = form
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(TEXT))
    logging.basicConfig(level=level, handlers=[handler])


def set_name(name: str) -> None:
    """Adds the name of this process to each of its lines from now on; an empty one adds nothing."""
    global _name
    _name = name


def name() -> str:
    """The name of this process, for one that it starts."""
    return _name


def configured() -> Format:
    """The format of this process's lines, for one that it starts."""
    return _configured


def event(logger: logging.Logger, level: int, sentence: str, **fields: str | float) -> None:
    """Says that something happened; its numbers and names are fields."""
    logger.log(level, sentence, extra={_FIELDS: fields}, stacklevel=2)


class TextFormatter(logging.Formatter):
    """The sentence, and its fields after it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line without a traceback."""
        fields = getattr(record, _FIELDS, {}) | _named()
        return super().formatMessage(record) + "".join(f" {name}={_shown(value)}" for name, value in fields.items())


class JsonFormatter(logging.Formatter):
    """A line of JSON: time, level, logger and message, the fields, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
            **_named(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _named() -> dict[str, str]:
    return {"name": _name} if _name else {}


def _shown(value: str | float) -> str:
    """A value that can be told from the next field's name."""
    if isinstance(value, str):
        return value if value and not set(' ="\n') & set(value) else json.dumps(value, ensure_ascii=False)
    return f"{value:g}" if isinstance(value, float) else str(value)
