"""The second argument of a handler, with the names and types that Lambda's own has."""

import json
import os
import time

from . import logs
from .failures import Fault

# A process serves one function, so these are read once, by `set_up`.
_LOG_GROUP_NAME = _LOG_STREAM_NAME = _FUNCTION_NAME = _FUNCTION_VERSION = _MEMORY_LIMIT_IN_MB = None

_TRACE_FIELDS = ("traceparent", "tracestate", "baggage")


def set_up():
    global _LOG_GROUP_NAME, _LOG_STREAM_NAME, _FUNCTION_NAME, _FUNCTION_VERSION, _MEMORY_LIMIT_IN_MB
    _LOG_GROUP_NAME = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
    _LOG_STREAM_NAME = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
    _FUNCTION_NAME = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    _FUNCTION_VERSION = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
    _MEMORY_LIMIT_IN_MB = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")


class _Record:
    """An object with fixed attributes."""

    __slots__ = ()

    def __repr__(self):
        fields = ",".join(f"{name}={getattr(self, name)}" for name in self.__slots__)
        return f"{type(self).__name__}([{fields}])"


class CognitoIdentity(_Record):
    """Always there; both None for a caller without an identity."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self):
        self.cognito_identity_id = None
        self.cognito_identity_pool_id = None


class Client(_Record):
    __slots__ = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")

    def __init__(self, values):
        for name in self.__slots__:
            setattr(self, name, values.get(name))


class ClientContext(_Record):
    __slots__ = ("custom", "env", "client")

    def __init__(self, values):
        self.custom = values.get("custom")
        self.env = values.get("env")
        client = values.get("client")
        self.client = None if client is None else Client(client)


class LambdaContext:
    """Made anew for each call from the meta of its INVOKE frame."""

    def __init__(self, meta):
        self.aws_request_id = meta["id"]
        self.log_group_name = _LOG_GROUP_NAME
        self.log_stream_name = _LOG_STREAM_NAME
        self.function_name = _FUNCTION_NAME
        self.memory_limit_in_mb = _MEMORY_LIMIT_IN_MB
        self.function_version = _FUNCTION_VERSION
        self.invoked_function_arn = meta.get("arn")
        self.tenant_id = meta.get("tenant")
        self.client_context = None
        self._w3c_fields = {}
        self._epoch_deadline_time_in_ms = meta["deadline"]
        client = meta.get("client")
        if client:
            values = _parse(client, "Client Context")
            if values is not None:
                self.client_context = ClientContext(values)
                self._w3c_fields = _trace_fields(values.get("w3c"))
        self.identity = CognitoIdentity()
        identity = meta.get("identity")
        if identity:
            values = _parse(identity, "Cognito Identity") or {}
            self.identity.cognito_identity_id = values.get("cognitoIdentityId")
            self.identity.cognito_identity_pool_id = values.get("cognitoIdentityPoolId")

    def get_remaining_time_in_millis(self):
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))

    def log(self, msg):
        logs.write_line(str(msg))

    def w3c(self):
        """The W3C trace context that came with the client context."""
        return dict(self._w3c_fields)

    def __repr__(self):
        fields = (
            "aws_request_id",
            "log_group_name",
            "log_stream_name",
            "function_name",
            "memory_limit_in_mb",
            "function_version",
            "invoked_function_arn",
            "client_context",
            "identity",
            "tenant_id",
        )
        return f"LambdaContext([{','.join(f'{name}={getattr(self, name)}' for name in fields)}])"


def _parse(text, name):
    try:
        return json.loads(text)
    except ValueError as error:
        raise Fault("Runtime.LambdaContextUnmarshalError", f"Unable to parse {name} JSON: {error}") from None


def _trace_fields(values):
    if not isinstance(values, dict):
        return {}
    return {name: values[name] for name in _TRACE_FIELDS if isinstance(values.get(name), str)}
