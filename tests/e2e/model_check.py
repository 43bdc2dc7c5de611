"""Holds answers of the Lambda API against botocore's own model.

botocore itself is lenient: it takes a missing member, an unknown one or a number for a string without a word. Other SDKs are not. So every answer's raw
JSON is walked along its shape: types, required members, enumerations, patterns, kinds of dates, unknown members; and errors by code, status and spelling.
"""

import base64
import json
import re

# Errors that belong to no single operation and so are in no list of the model.
COMMON_ERRORS = {
    "AccessDeniedException": 403,
    "IncompleteSignatureException": 403,
    "InvalidRequestContentException": 400,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "RequestEntityTooLargeException": 413,
    "SerializationException": 400,
    "ServiceUnavailableException": 503,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
    "ValidationException": 400,
}
# Operations whose status tells something (or, DeleteFunction, is another one on AWS than in the model).
OTHER_STATUS = {"Invoke": {200, 202, 204}, "DeleteFunction": {200, 202, 204}}
# Without a code signing configuration Lambda answers `{}`, although the model requires both members.
EMPTY_ANSWERS = {"GetFunctionCodeSigningConfig"}
LAST_MODIFIED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000")
# Python's re has no classes by Unicode category; these are near enough.
JAVA_CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s"}
REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Mismatch(AssertionError):
    """An answer that is not what the model says."""


def after_call(http_response, parsed, model, **_):
    """Handler for botocore's `after-call` event."""
    check(model, http_response)


def check(model, response):
    faults = []
    headers = {name.lower(): value for name, value in response.headers.items()}
    if not REQUEST_ID.fullmatch(headers.get("x-amzn-requestid", "")):
        faults.append("header x-amzn-RequestId is missing or no UUID")
    if response.status_code >= 300:
        _check_error(model, response, headers, faults)
    else:
        _check_success(model, response, headers, faults)
    if faults:
        raise Mismatch(f"{model.name}: " + "; ".join(faults))


def _check_success(model, response, headers, faults):
    expected = OTHER_STATUS.get(model.name, {model.http.get("responseCode", 200)})
    if response.status_code not in expected:
        faults.append(f"status {response.status_code}, the model says {expected}")
    shape = model.output_shape
    if shape is None:
        if response.content:
            faults.append("a body, the model has none")
        return
    for name, member in shape.members.items():
        if member.serialization.get("location") == "header":
            value = headers.get(member.serialization["name"].lower())
            if value is not None:
                _walk(member, value, name, faults)
    payload = shape.serialization.get("payload")
    if payload or response.status_code == 204:
        return
    try:
        body = json.loads(response.content)
    except ValueError:
        faults.append("the body is not JSON")
        return
    if body == {} and model.name in EMPTY_ANSWERS:
        return
    in_body = {
        name: member for name, member in shape.members.items() if "location" not in member.serialization
    }
    _walk_structure(shape, in_body, body, "", faults)


def _walk(shape, value, path, faults):
    """Checks a value against its shape."""
    kinds = {
        "string": str,
        "integer": int,
        "long": int,
        "double": (int, float),
        "float": (int, float),
        "boolean": bool,
        "list": list,
        "map": dict,
        "structure": dict,
        "blob": str,
    }
    name = shape.type_name
    if name == "timestamp":
        return _walk_timestamp(shape, value, path, faults)
    if not isinstance(value, kinds[name]) or (isinstance(value, bool) and name != "boolean"):
        return faults.append(f"{path} is {value!r}, not a {name}")
    if name == "structure":
        return _walk_structure(shape, shape.members, value, path + ".", faults)
    if name == "list":
        for index, item in enumerate(value):
            _walk(shape.member, item, f"{path}[{index}]", faults)
    elif name == "map":
        for key, item in value.items():
            _walk(shape.key, key, f"{path} key", faults)
            _walk(shape.value, item, f"{path}.{key}", faults)
    elif name == "blob":
        base64.b64decode(value, validate=True)
    elif name == "string":
        _walk_string(shape, value, path, faults)
    _walk_range(shape, value, path, faults)


def _walk_structure(shape, members, value, prefix, faults):
    if not isinstance(value, dict):
        return faults.append(f"{prefix or 'the body'} is no object")
    by_wire = {member.serialization.get("name", name): (name, member) for name, member in members.items()}
    for required in shape.required_members:
        if required in members and value.get(members[required].serialization.get("name", required)) is None:
            faults.append(f"{prefix}{required} is missing")
    for wire, item in value.items():
        if wire not in by_wire:
            faults.append(f"{prefix}{wire} is not in the model")
        elif item is not None:
            name, member = by_wire[wire]
            _walk(member, item, prefix + name, faults)
            if name == "LastModified" and member.type_name == "string" and not LAST_MODIFIED.fullmatch(item):
                faults.append(f"{prefix}{name} is {item!r}, no date in Lambda's form")
            if name in ("NextMarker", "Marker") and item == "":
                faults.append(f"{prefix}{name} is empty; at the end it must be absent")


def _walk_timestamp(shape, value, path, faults):
    """In JSON bodies a date is a number of seconds, unless its shape says otherwise."""
    form = shape.serialization.get("timestampFormat", "unixTimestamp")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number != (form == "unixTimestamp"):
        faults.append(f"{path} is {value!r}, not in the form {form}")


def _walk_string(shape, value, path, faults):
    if shape.enum and value not in shape.enum:
        faults.append(f"{path} is {value!r}, not one of {shape.enum}")
    pattern = shape.metadata.get("pattern")
    for java, python in JAVA_CLASSES.items():
        pattern = pattern and pattern.replace(java, python)
    if pattern and not re.fullmatch(pattern, value, re.DOTALL):
        faults.append(f"{path} is {value!r}, which does not match {pattern}")


def _walk_range(shape, value, path, faults):
    size = value if isinstance(value, (int, float)) else len(value)
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and size < low) or (high is not None and size > high):
        faults.append(f"{path} is {value!r}, outside {low}..{high}")


def _check_error(model, response, headers, faults):
    code = headers.get("x-amzn-errortype", "")
    shapes = {shape.name: shape for shape in model.error_shapes}
    try:
        body = json.loads(response.content)
    except ValueError:
        return faults.append(f"the error's body is not JSON: {response.content[:200]!r}")
    if code in shapes:
        shape = shapes[code]
        status = shape.metadata["error"]["httpStatusCode"]
        message = next(name for name in shape.members if name.lower() == "message")
        unknown = {name for name in body if name not in shape.members}
    elif code in COMMON_ERRORS:
        status = COMMON_ERRORS[code]
        message = next((name for name in body if name.lower() == "message"), "message")
        unknown = set(body) - {"Type", message}
    else:
        return faults.append(f"the error {code!r} is none of {sorted(shapes)}")
    if response.status_code != status:
        faults.append(f"{code} has status {response.status_code}, the model says {status}")
    if not isinstance(body.get(message), str) or not body[message]:
        faults.append(f"{code} has no {message}: {body}")
    if body.get("Type") not in ("User", "Service"):
        faults.append(f"{code} has Type {body.get('Type')!r}")
    if unknown:
        faults.append(f"{code} has unknown members {unknown}")
