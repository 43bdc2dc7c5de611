"""The way of every user: create, call, change, list, remove, with an unmodified boto3."""

import base64
import json
import re
import time
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

import functions
from functions import deploy, fresh_name, wait, zip_of
from server import ACCOUNT, REGION


def arn(name):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def call(client, name, event=None, **more):
    """Calls a function; gives its answer and the error's kind."""
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event or {}), **more)
    return json.load(answer["Payload"]), answer


def refused(code, operation, **request):
    """Expects a refusal; gives its message."""
    with pytest.raises(ClientError) as refusal:
        operation(**request)
    assert refusal.value.response["Error"]["Code"] == code, refusal.value
    return refusal.value.response["Error"]["Message"]


def test_create_answers_pending_then_active(client):
    name = fresh_name()
    created = client.create_function(
        FunctionName=name,
        Runtime=functions.RUNTIME,
        Role=functions.ROLE,
        Handler="app.handler",
        Code={"ZipFile": zip_of(functions.ECHO)},
        Description="ä description",
        MemorySize=256,
    )
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (created["State"], created["StateReasonCode"]) == ("Pending", "Creating")
    assert "LastUpdateStatus" not in created and "Environment" not in created
    assert created["Version"] == "$LATEST" and created["FunctionArn"] == arn(name)
    wait(client, "function_active_v2", name)
    found = client.get_function(FunctionName=name)
    configuration = found["Configuration"]
    assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Successful")
    assert (configuration["Timeout"], configuration["MemorySize"]) == (3, 256)
    assert configuration["EphemeralStorage"] == {"Size": 512}
    assert configuration["TracingConfig"] == {"Mode": "PassThrough"}
    assert configuration["SnapStart"] == {"ApplyOn": "None", "OptimizationStatus": "Off"}
    assert configuration["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}
    assert configuration["PackageType"] == "Zip" and configuration["Architectures"]
    assert configuration["Description"] == "ä description"
    assert "Tags" not in found and "Concurrency" not in found


def test_code_location_opens_without_credentials(client, echo):
    location = client.get_function(FunctionName=echo)["Code"]["Location"]
    with urllib.request.urlopen(location) as answer:
        assert answer.read() == zip_of(functions.ECHO)
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(re.sub("Expires=1", "Expires=2", location))
    assert refusal.value.code == 403


def test_invoke(client, echo):
    body, answer = call(client, echo, {"text": "ä €", "n": [1, None]})
    assert body["event"] == {"text": "ä €", "n": [1, None]}
    assert body["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert body["arn"] == arn(echo) and body["version"] == "$LATEST"
    assert answer["StatusCode"] == 200 and answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer and "LogResult" not in answer


def test_invoke_without_payload(client, echo):
    answer = client.invoke(FunctionName=echo)
    assert json.load(answer["Payload"])["event"] == {}


def test_every_form_of_the_name(client, echo):
    forms = [echo, f"{ACCOUNT}:function:{echo}", f"function:{echo}", arn(echo)]
    for form in forms[:2] + forms[3:]:
        for qualifier in ({}, {"Qualifier": "$LATEST"}):
            body, _ = call(client, form, {}, **qualifier)
            assert body["arn"] == arn(echo) + (":$LATEST" if qualifier else ""), form
        body, _ = call(client, form + ":$LATEST", {})
        assert body["arn"] == arn(echo) + ":$LATEST"
    found = client.get_function(FunctionName=echo, Qualifier="$LATEST")
    assert found["Configuration"]["FunctionArn"] == arn(echo) + ":$LATEST"
    message = refused(
        "InvalidParameterValueException", client.invoke, FunctionName=echo + ":$LATEST", Qualifier="1"
    )
    assert message == (
        "The derived qualifier from the function name does not match the specified qualifier."
    )


@pytest.mark.parametrize("form", ["{}", "{}:7", "arn:aws:lambda:eu-west-1:000000000000:function:{}"])
def test_what_is_not_there_is_404(client, form):
    name = form.format("missing-function")
    message = refused("ResourceNotFoundException", client.invoke, FunctionName=name)
    assert message.startswith("Function not found: arn:aws:lambda:")
    refused("ResourceNotFoundException", client.get_function, FunctionName=name)


def test_dry_run_and_unsupported_kinds(client, echo):
    answer = client.invoke(FunctionName=echo, InvocationType="DryRun")
    assert (answer["StatusCode"], answer["Payload"].read()) == (204, b"")
    refused(
        "ResourceNotFoundException", client.invoke, FunctionName="missing", InvocationType="DryRun"
    )


def test_a_payload_that_is_no_json(client, echo):
    message = refused("InvalidRequestContentException", client.invoke, FunctionName=echo, Payload=b"{")
    assert message.startswith("Could not parse request body into json")


def test_a_payload_that_is_too_large(client, echo):
    exact = b'"' + b"x" * (6_291_456 - 2) + b'"'
    answer = client.invoke(FunctionName=echo, Payload=exact)
    # The echo wraps the event, so the answer is too large.
    assert json.load(answer["Payload"])["errorType"] == "Function.ResponseSizeTooLarge"
    message = refused("RequestTooLargeException", client.invoke, FunctionName=echo, Payload=exact + b" ")
    assert message == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"


def test_errors_of_functions(client, actor):
    body, answer = call(client, actor, {"raise": "no"})
    assert answer["FunctionError"] == "Unhandled" and answer["StatusCode"] == 200
    assert (body["errorType"], body["errorMessage"]) == ("ValueError", "no")
    assert body["stackTrace"]
    body, answer = call(client, actor, {"exit": 3})
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert body == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: Runtime exited with error: exit status 3",
    }
    body, answer = call(client, actor)
    assert "FunctionError" not in answer


def test_log_tail(client, actor):
    _, answer = call(client, actor, {"print": "a line of the log"}, LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert f"START RequestId: {request_id} Version: $LATEST" in log
    assert "a line of the log" in log
    assert f"END RequestId: {request_id}" in log
    assert re.search(rf"REPORT RequestId: {request_id}\s+Duration: [\d.]+ ms", log)


def test_client_context(client, actor):
    context = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    body, _ = call(client, actor, {"context": True}, ClientContext=context)
    assert body == {"custom": {"k": "v"}}
    refused(
        "InvalidRequestContentException", client.invoke, FunctionName=actor, ClientContext="not base64"
    )


def test_a_timeout_is_kept_and_the_next_call_works(client, actor):
    call(client, actor)
    start = time.monotonic()
    body, answer = call(client, actor, {"sleep": 30})
    elapsed = time.monotonic() - start
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert answer["FunctionError"] == "Unhandled"
    assert body == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds",
    }
    assert 1 <= elapsed < 1.5, elapsed
    _, answer = call(client, actor)
    assert "FunctionError" not in answer


def test_update_code(client):
    name = deploy(client, functions.ECHO)
    before = client.get_function_configuration(FunctionName=name)
    updated = client.update_function_code(FunctionName=name, ZipFile=zip_of(functions.ACTOR))
    assert updated["LastUpdateStatus"] == "InProgress"
    assert updated["RevisionId"] != before["RevisionId"]
    assert updated["CodeSha256"] != before["CodeSha256"]
    wait(client, "function_updated_v2", name)
    body, _ = call(client, name)
    assert "pid" in body


def test_dry_run_of_an_update_changes_nothing(client, echo):
    before = client.get_function_configuration(FunctionName=echo)
    client.update_function_code(FunctionName=echo, ZipFile=zip_of(functions.ACTOR), DryRun=True)
    assert client.get_function_configuration(FunctionName=echo)["RevisionId"] == before["RevisionId"]


def test_update_configuration(client):
    name = deploy(client, functions.ACTOR, Environment={"Variables": {"COLOUR": "red"}})
    assert call(client, name)[0]["env"] == "red"
    updated = client.update_function_configuration(
        FunctionName=name,
        Environment={"Variables": {"COLOUR": "blue"}},
        Timeout=7,
        TracingConfig={"Mode": "Active"},
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    )
    assert updated["LastUpdateStatus"] == "InProgress"
    wait(client, "function_updated_v2", name)
    assert call(client, name)[0]["env"] == "blue"
    found = client.get_function_configuration(FunctionName=name)
    assert (found["Timeout"], found["MemorySize"]) == (7, 128)
    assert found["TracingConfig"] == {"Mode": "Active"}
    assert found["VpcConfig"]["SubnetIds"] == ["subnet-1"]
    client.update_function_configuration(FunctionName=name, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
    wait(client, "function_updated_v2", name)
    assert "VpcConfig" not in client.get_function_configuration(FunctionName=name)


def test_a_stale_revision_is_412(client):
    name = deploy(client, functions.ECHO)
    stale = client.get_function_configuration(FunctionName=name)["RevisionId"]
    client.update_function_configuration(FunctionName=name, Description="new", RevisionId=stale)
    wait(client, "function_updated_v2", name)
    for operation, more in [
        (client.update_function_configuration, {"Description": "newer"}),
        (client.update_function_code, {"ZipFile": zip_of(functions.ACTOR)}),
        (client.publish_version, {}),
    ]:
        message = refused("PreconditionFailedException", operation, FunctionName=name, RevisionId=stale, **more)
        assert "Revision Id" in message
    assert client.get_function_configuration(FunctionName=name)["Description"] == "new"


def test_versions(client):
    name = deploy(client, functions.ACTOR, Environment={"Variables": {"COLOUR": "red"}})
    published = client.publish_version(FunctionName=name, Description="first")
    assert (published["Version"], published["FunctionArn"]) == ("1", arn(name) + ":1")
    assert published["Description"] == "first"
    # The same state is not published twice.
    assert client.publish_version(FunctionName=name)["Version"] == "1"
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"COLOUR": "blue"}})
    wait(client, "function_updated_v2", name)
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier="2")
    assert call(client, name, Qualifier="1")[0]["env"] == "red"
    body, answer = call(client, name + ":2")
    assert (body["env"], answer["ExecutedVersion"]) == ("blue", "2")
    versions = client.list_versions_by_function(FunctionName=name, MaxItems=10000)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1", "2"]
    assert versions[0]["FunctionArn"] == arn(name) + ":$LATEST"
    client.delete_function(FunctionName=name, Qualifier="1")
    refused("ResourceNotFoundException", client.get_function, FunctionName=name, Qualifier="1")
    refused("InvalidParameterValueException", client.delete_function, FunctionName=name, Qualifier="$LATEST")


def test_create_with_publish(client):
    name = fresh_name()
    created = client.create_function(
        FunctionName=name,
        Runtime=functions.RUNTIME,
        Role=functions.ROLE,
        Handler="app.handler",
        Code={"ZipFile": zip_of(functions.ECHO)},
        Publish=True,
    )
    assert (created["Version"], created["FunctionArn"]) == ("1", arn(name))
    wait(client, "function_active_v2", name)
    assert call(client, name, Qualifier="1")[0]["version"] == "1"


def test_a_hundred_and_twenty_functions_over_pages(client):
    prefix = fresh_name("page")
    names = {f"{prefix}-{number:03}" for number in range(120)}
    code = zip_of(functions.ECHO)
    for name in names:
        client.create_function(
            FunctionName=name,
            Runtime=functions.RUNTIME,
            Role=functions.ROLE,
            Handler="app.handler",
            Code={"ZipFile": code},
        )
    pages = list(client.get_paginator("list_functions").paginate())
    found = [function["FunctionName"] for page in pages for function in page["Functions"]]
    assert names <= set(found) and len(found) == len(set(found))
    assert all(len(page["Functions"]) <= 50 for page in pages) and len(pages) >= 3
    assert "NextMarker" not in pages[-1]
    page = client.list_functions(MaxItems=7, FunctionVersion="ALL")
    assert len(page["Functions"]) == 7 and page["NextMarker"]
    assert all(function["FunctionArn"].endswith(function["Version"]) for function in page["Functions"])
    refused("InvalidParameterValueException", client.list_functions, Marker="?")
    for name in names:
        wait(client, "function_active_v2", name)
        client.delete_function(FunctionName=name)
    left = {f["FunctionName"] for page in client.get_paginator("list_functions").paginate() for f in page["Functions"]}
    assert not names & left


def test_tags(client):
    name = deploy(client, functions.ECHO, Tags={"team": "a", "ü": "x y"})
    assert client.get_function(FunctionName=name)["Tags"] == {"team": "a", "ü": "x y"}
    client.tag_resource(Resource=arn(name), Tags={"team": "b", "more": ""})
    assert client.list_tags(Resource=arn(name))["Tags"] == {"team": "b", "ü": "x y", "more": ""}
    client.untag_resource(Resource=arn(name), TagKeys=["ü", "more", "absent"])
    assert client.list_tags(Resource=arn(name))["Tags"] == {"team": "b"}
    refused("ResourceNotFoundException", client.list_tags, Resource=arn("missing"))
    refused("InvalidParameterValueException", client.tag_resource, Resource=arn(name), Tags={"warren:engine": "x"})


def test_reserved_concurrency(client):
    name = deploy(client, functions.ECHO)
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    put = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    assert put["ReservedConcurrentExecutions"] == 0
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 0}
    with pytest.raises(client.exceptions.TooManyRequestsException) as refusal:
        client.invoke(FunctionName=name)
    assert refusal.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert refusal.value.response["Error"]["Message"] == "Rate Exceeded."
    message = refused(
        "InvalidParameterValueException",
        client.put_function_concurrency,
        FunctionName=name,
        ReservedConcurrentExecutions=901,
    )
    assert "below its minimum value of [100]" in message
    client.delete_function_concurrency(FunctionName=name)
    assert call(client, name)[1]["StatusCode"] == 200


def test_delete(client):
    name = deploy(client, functions.ECHO)
    client.delete_function(FunctionName=name)
    refused("ResourceNotFoundException", client.invoke, FunctionName=name)
    refused("ResourceNotFoundException", client.delete_function, FunctionName=name)
    # The name is free again.
    assert deploy(client, functions.ACTOR, name) == name
    assert "pid" in call(client, name)[0]


def test_conflicts(client, echo):
    request = {
        "FunctionName": echo,
        "Runtime": functions.RUNTIME,
        "Role": functions.ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": zip_of(functions.ECHO)},
    }
    message = refused("ResourceConflictException", client.create_function, **request)
    assert message == f"Function already exist: {echo}"


@pytest.mark.parametrize(
    ("code", "words", "change"),
    [
        ("InvalidParameterValueException", "python9", {"Runtime": "python9"}),
        ("InvalidParameterValueException", "no longer supported", {"Runtime": "python2.7"}),
        ("ValidationException", "at 'role'", {"Role": "arn:aws:iam::1:role/x"}),
        ("ValidationException", "at 'timeout'", {"Timeout": 901}),
        ("ValidationException", "at 'memorySize'", {"MemorySize": 127}),
        ("ValidationException", "at 'memorySize'", {"MemorySize": 10241}),
        ("ValidationException", "at 'ephemeralStorage.size'", {"EphemeralStorage": {"Size": 511}}),
        ("ValidationException", "at 'handler'", {"Handler": "a b"}),
        ("ValidationException", "at 'functionName'", {"FunctionName": "a.b"}),
        ("InvalidParameterValueException", "64", {"FunctionName": "x" * 65}),
        ("InvalidParameterValueException", "reserved keys", {"Environment": {"Variables": {"AWS_REGION": "x"}}}),
        ("InvalidParameterValueException", "4KB", {"Environment": {"Variables": {"KEY": "x" * 4100}}}),
        ("InvalidParameterValueException", "Could not unzip", {"Code": {"ZipFile": b"no zip"}}),
        ("InvalidParameterValueException", "Code.S3Bucket", {"Code": {"S3Bucket": "bucket", "S3Key": "key"}}),
        ("InvalidParameterValueException", "Code.ImageUri", {"Code": {"ImageUri": "image"}}),
        ("InvalidParameterValueException", "Layers", {"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:l:1"]}),
        ("ValidationException", "snapStart.applyOn", {"SnapStart": {"ApplyOn": "Always"}}),
        ("InvalidParameterValueException", "PackageType", {"PackageType": "Image"}),
        ("InvalidParameterValueException", "warren:route", {"Tags": {"warren:route": "FETCH /x"}}),
    ],
)
def test_create_is_refused_by_name(warren, code, words, change):
    request = {
        "FunctionName": fresh_name("refused"),
        "Runtime": functions.RUNTIME,
        "Role": functions.ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": zip_of(functions.ECHO)},
    }
    client = warren.client(validated=False)
    message = refused(code, client.create_function, **{**request, **change})
    assert words in message or words == "warren:route" and "route" in message, message


def test_account_settings(client, echo):
    settings = client.get_account_settings()
    assert settings["AccountLimit"]["ConcurrentExecutions"] == 1000
    assert settings["AccountUsage"]["FunctionCount"] >= 1
    assert settings["AccountUsage"]["TotalCodeSize"] > 0


def test_caller_identity(warren):
    identity = warren.client("sts").get_caller_identity()
    assert identity["Account"] == ACCOUNT
    assert identity["Arn"].startswith(f"arn:aws:iam::{ACCOUNT}:")


def test_a_request_that_is_too_large(client):
    # The zip in base64 is over the limit of a control request.
    message = refused(
        "RequestEntityTooLargeException",
        client.update_function_code,
        FunctionName="any",
        ZipFile=b"\0" * 53_000_000,
    )
    assert message == "Request must be smaller than 70167211 bytes for the UpdateFunctionCode operation"
