"""Finds the function named by `_HANDLER`."""

import importlib
import os
import sys

from .failures import Fault


def set_search_path():
    """Puts the function's folder first, then its layers; the runtime's own folder stays behind them."""
    task_root = os.environ.get("LAMBDA_TASK_ROOT", "/var/task")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    first = [task_root, f"/opt/python/lib/{version}/site-packages", "/opt/python"]
    sys.path[:] = first + [entry for entry in sys.path if entry not in first]


def load(name):
    """The handler `module.function`; folders of the module may be separated by dots or slashes."""
    module_name, dot, function_name = name.rpartition(".")
    if not dot:
        raise Fault(
            "Runtime.MalformedHandlerName", f"Bad handler '{name}': not enough values to unpack (expected 2, got 1)"
        )
    module = _import(module_name)
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise Fault("Runtime.HandlerNotFound", f"Handler '{function_name}' missing on module '{module_name}'") from None


def _import(name):
    if name.split(".")[0] in sys.builtin_module_names:
        raise Fault("Runtime.BuiltInModuleConflict", f"Cannot use built-in module {name} as a handler module")
    try:
        return importlib.import_module(name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", f"Unable to import module '{name}': {error}") from None
    except SyntaxError as error:
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise Fault("Runtime.UserCodeSyntaxError", f"Syntax error in module '{name}': {error}", [place]) from None
