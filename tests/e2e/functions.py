"""Functions under test, and how they are deployed."""

import io
import os
import uuid
import zipfile

RUNTIME = os.environ.get("WARREN_E2E_RUNTIME", "python3.12")
ROLE = "arn:aws:iam::000000000000:role/e2e"

ECHO = """
def handler(event, context):
    return {
        "event": event,
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "version": context.function_version,
    }
"""

# Does what the event says.
ACTOR = """
import os, sys, time

def handler(event, context):
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "print" in event:
        print(event["print"], flush=True)
    if "raise" in event:
        raise ValueError(event["raise"])
    if "exit" in event:
        os._exit(event["exit"])
    if "context" in event:
        return {"custom": context.client_context.custom}
    return {"pid": os.getpid(), "env": os.environ.get("COLOUR")}
"""

HTTP = """
import json

def handler(event, context):
    answer = event.get("headers", {}).get("x-answer")
    return json.loads(answer) if answer else event
"""


def zip_of(source, name="app.py"):
    """The same bytes for the same source, whenever."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), source, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def fresh_name(prefix="f"):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def wait(client, waiter, name):
    """Waits with Lambda's own waiters, patiently: the first function of a runtime builds its tree."""
    client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 900})


def deploy(client, source, name=None, **overrides):
    """Creates a function and waits until it is active; gives its name."""
    name = name or fresh_name()
    request = {
        "FunctionName": name,
        "Runtime": RUNTIME,
        "Role": ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": zip_of(source)},
    }
    client.create_function(**{**request, **overrides})
    wait(client, "function_active_v2", name)
    return name
