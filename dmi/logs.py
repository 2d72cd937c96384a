"""Log lines of our programs: on standard error, for people or for machines."""

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import orjson

__all__ = ["LogFormat", "LogLevel", "set_up_logging"]

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


def set_up_logging(level: LogLevel, form: LogFormat) -> None:
    """Send the log of this process to standard error, in one form, from one level up."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(_JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # One line per connection, and per look at a folder, says nothing about devices.
    for chatty in ("uvicorn.error", "watchfiles", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()
