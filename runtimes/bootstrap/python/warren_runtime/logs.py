"""The root logger, set up as Lambda sets it up, and the log entry of a failed call."""

import json
import logging
import os
import time
import traceback

from . import failures

# Whether entries are JSON; known to `set_up`.
_json_format = False
_DATE = "%Y-%m-%dT%H:%M:%S"
_TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"

# What every record has; other attributes were given by the function with `extra=` and belong into the entry.
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {
    "aws_request_id",
    "tenant_id",
    "asctime",
    "message",
}

# Set by the main loop for each call.
request_id = None


def write_line(text):
    """Writes an entry to the log; `set_up` puts the counted output in its place."""
    raise NotImplementedError


class LambdaLoggerFilter(logging.Filter):
    """Makes the request id available to formats, also those that the function sets itself."""

    def filter(self, record):
        record.aws_request_id = request_id or ""
        record.tenant_id = None
        return True


class LambdaLoggerHandler(logging.Handler):
    def emit(self, record):
        write_line(self.format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a record, for functions with the log format JSON."""

    def format(self, record):
        level = min(50, max(0, record.levelno)) // 10 * 10
        structured = isinstance(record.msg, dict) and not record.args
        entry = {
            "timestamp": self.formatTime(record, _DATE + "Z"),
            "level": logging.getLevelName(level),
            "message": record.msg if structured else record.getMessage(),
            "logger": record.name,
            **self._exception(record),
            "requestId": getattr(record, "aws_request_id", None),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD_ATTRIBUTES:
                entry.setdefault(name, value)
        return json.dumps({k: v for k, v in entry.items() if v is not None}, ensure_ascii=False, default=str)

    @staticmethod
    def _exception(record):
        if not record.exc_info or record.exc_info[0] is None:
            return {}
        kind, value, trace = record.exc_info
        return {
            "stackTrace": traceback.format_tb(trace),
            "errorType": kind.__name__,
            "errorMessage": str(value),
            "location": f"{record.pathname}:{record.funcName}:{record.lineno}",
        }


def set_up(write):
    global write_line, _json_format
    write_line = write
    _json_format = os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON"
    logging.Formatter.converter = time.gmtime
    handler = LambdaLoggerHandler()
    handler.setFormatter(JsonFormatter() if _json_format else logging.Formatter(_TEXT_FORMAT, _DATE))
    handler.addFilter(LambdaLoggerFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = "DEBUG" if level == "TRACE" else level
    if isinstance(logging.getLevelName(level), int):
        root.setLevel(level)


def error_entry(error):
    if not _json_format:
        return failures.log_text(error)
    entry = {"timestamp": time.strftime(_DATE + "Z", time.gmtime()), "level": "ERROR", **error}
    return json.dumps(entry, ensure_ascii=False)
