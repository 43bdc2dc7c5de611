"""Every operation of botocore's model: served, truthfully empty, or refused by its name; never a 5xx, never a shape of its own."""

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.loaders import Loader

import functions

MODEL = Loader().load_service_model("lambda", "service-2")
# These are called for real elsewhere, or change what other tests need.
ELSEWHERE = {"CreateFunction", "DeleteFunction", "Invoke", "UpdateFunctionCode"}
EMPTY_LISTS = {
    "ListAliases": "Aliases",
    "ListEventSourceMappings": "EventSourceMappings",
    "ListFunctionEventInvokeConfigs": "FunctionEventInvokeConfigs",
    "ListFunctionUrlConfigs": "FunctionUrlConfigs",
    "ListLayers": "Layers",
    "ListProvisionedConcurrencyConfigs": "ProvisionedConcurrencyConfigs",
    "ListCodeSigningConfigs": "CodeSigningConfigs",
}
MISSING = {
    "GetPolicy": "ResourceNotFoundException",
    "GetFunctionUrlConfig": "ResourceNotFoundException",
    "GetFunctionEventInvokeConfig": "ResourceNotFoundException",
    "GetProvisionedConcurrencyConfig": "ProvisionedConcurrencyConfigNotFoundException",
}


@pytest.fixture(scope="module")
def plain(client):
    """A function that no other test relies on."""
    return functions.deploy(client, functions.ECHO, functions.fresh_name("plain"))


def example(shape_name, function):
    """The least value that botocore's own validation lets through."""
    shape = MODEL["shapes"][shape_name]
    if "FunctionName" in shape_name:
        return function
    if shape.get("enum"):
        return shape["enum"][0]
    kind = shape["type"]
    if kind == "structure":
        members = shape["members"]
        return {name: example(members[name]["shape"], function) for name in shape.get("required", [])}
    return {
        "string": "x" * max(shape.get("min", 1), 1),
        "integer": shape.get("min", 1),
        "long": shape.get("min", 1),
        "boolean": False,
        "blob": b"x",
        "list": [example(shape["member"]["shape"], function) for _ in range(shape.get("min", 0))]
        if kind == "list"
        else None,
        "map": {},
        "timestamp": 0,
        "double": 1.0,
    }[kind]


def request_of(operation, function):
    described = MODEL["operations"][operation]
    if "input" not in described:
        return {}
    request = example(described["input"]["shape"], function)
    if "Resource" in request:
        request["Resource"] = f"arn:aws:lambda:us-east-1:000000000000:function:{function}"
    if operation == "UntagResource":
        request["TagKeys"] = ["absent"]
    return request


@pytest.mark.parametrize("operation", sorted(set(MODEL["operations"]) - ELSEWHERE))
def test_operation(warren, client, plain, operation):
    method = getattr(client, xform_name(operation))
    request = request_of(operation, plain)
    if operation in EMPTY_LISTS:
        assert method(**request)[EMPTY_LISTS[operation]] == []
        return
    if operation in MISSING:
        with pytest.raises(ClientError) as refusal:
            method(**request)
        assert refusal.value.response["Error"]["Code"] in (MISSING[operation], "ResourceNotFoundException")
        return
    try:
        method(**request)
    except ClientError as refusal:
        status = refusal.response["ResponseMetadata"]["HTTPStatusCode"]
        assert 400 <= status < 500, refusal
        message = refusal.response["Error"]["Message"]
        if "not supported" in message:
            assert operation in message


def test_defaults(client, echo):
    assert client.get_function_code_signing_config(FunctionName=echo).get("CodeSigningConfigArn") is None
    assert client.get_runtime_management_config(FunctionName=echo)["UpdateRuntimeOn"] == "Auto"
    assert client.get_function_recursion_config(FunctionName=echo)["RecursiveLoop"] == "Terminate"


def test_questions_about_functions_that_are_not_there(client):
    for operation in (client.list_aliases, client.get_policy, client.get_function_code_signing_config):
        with pytest.raises(client.exceptions.ResourceNotFoundException) as refusal:
            operation(FunctionName="missing")
        assert "Function not found" in str(refusal.value)
