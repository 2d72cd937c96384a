"""Log lines of our programs: on standard error, for people or for machines."""

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import orjson

from dmi.errors import NotFoundError

__all__ = ["LogFormat", "LogLevel", "change_log_level", "log_levels", "set_up_logging"]

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


def log_levels() -> tuple[LogLevel, dict[str, LogLevel]]:
    """The level of this process, and of loggers that have one of their own."""
    own = {
        name: _word(logger.level)
        for name, logger in sorted(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET
    }
    return _word(logging.root.level), own


def change_log_level(level: LogLevel | None, logger: str = "") -> None:
    """Log from this level up, from now on.

    Args:
        level: None makes a logger do again as those above it.
        logger: Only of this one and those below; empty for all that have no level of their own.

    Raises:
        NotFoundError: There is no such logger.
    """
    if not logger:
        if level is not None:
            logging.root.setLevel(level.upper())
        return
    if logger not in logging.root.manager.loggerDict:
        raise NotFoundError(f"there is no logger {logger!r}")
    logging.getLogger(logger).setLevel(level.upper() if level is not None else logging.NOTSET)


def _word(level: int) -> LogLevel:
    """The word for a level; one in between is the next above."""
    if level <= logging.DEBUG:
        return "debug"
    if level <= logging.INFO:
        return "info"
    return "warning" if level <= logging.WARNING else "error"


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
