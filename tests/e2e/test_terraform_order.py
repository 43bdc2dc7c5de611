"""The calls of Terraform's `aws_lambda_function` and of cargo-lambda, in their order and with their arguments.

Both stop at the first error, whatever it is about, and Terraform plans a change for every attribute that reads differently from what it wrote.
"""

import contextlib
import json
import platform
import time

import pytest

import functions
from functions import fresh_name, zip_of
from server import ACCOUNT, REGION

# The machine's, which cargo-lambda has built for.
ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
# Terraform waits much longer, first and between.
PAUSE_S = 0.1
WAIT_S = 120
# What Terraform sends where a block was removed.
REMOVED = {
    "DeadLetterConfig": {"TargetArn": ""},
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": [], "Ipv6AllowedForDualStack": False},
    "Environment": {"Variables": {}},
    "FileSystemConfigs": [],
    "ImageConfig": {},
    "Layers": [],
    "KMSKeyArn": "",
    "Description": "",
}


def arn(name):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


def plain(answer):
    """An answer without what belongs to the request alone."""
    return {member: value for member, value in answer.items() if member != "ResponseMetadata"}


class Terraform:
    """`aws_lambda_function`, as the provider does it."""

    def __init__(self, client, name):
        self.client, self.name = client, name

    def create(self, reserved=None, **arguments):
        self.client.create_function(FunctionName=self.name, PackageType="Zip", **arguments)
        # Other than the waiters of SDKs, these know no status but the ones named.
        self._wait("State", "Pending", "Active")
        if reserved is not None:
            self.client.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=reserved)
        return self.read()

    def read(self):
        """All that a refresh reads."""
        found = plain(self.client.get_function(FunctionName=self.name))
        # Signed anew each time; Terraform does not look at it.
        assert found["Code"].pop("Location")
        pages = self.client.get_paginator("list_versions_by_function").paginate(
            FunctionName=self.name, PaginationConfig={"PageSize": 10000}
        )
        versions = [version for page in pages for version in page["Versions"]]
        signing = plain(self.client.get_function_code_signing_config(FunctionName=self.name))
        tags = plain(self.client.list_tags(Resource=found["Configuration"]["FunctionArn"]))
        return {"function": found, "versions": versions, "signing": signing, "tags": tags}

    def update(self, configuration=None, code=None, reserved=None, publish=False):
        """An apply over a function that is there."""
        if configuration:
            self.client.update_function_configuration(FunctionName=self.name, **configuration)
            self._wait("LastUpdateStatus", "InProgress", "Successful")
        if code:
            self.client.update_function_code(FunctionName=self.name, ZipFile=code)
            self._wait("LastUpdateStatus", "InProgress", "Successful")
        if reserved is not None and reserved >= 0:
            self.client.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=reserved)
        elif reserved is not None:
            self.client.delete_function_concurrency(FunctionName=self.name)
        if publish:
            published = self.client.publish_version(FunctionName=self.name)
            # Both the qualified ARN and the qualifier; a version without a status would be waited for until the time is up.
            version = {"FunctionName": published["FunctionArn"], "Qualifier": published["Version"]}
            self._until("Successful", lambda: self.client.get_function_configuration(**version).get("LastUpdateStatus"))
        return self.read()

    def tag(self, remove, add):
        self.client.untag_resource(Resource=arn(self.name), TagKeys=remove)
        self.client.tag_resource(Resource=arn(self.name), Tags=add)
        return self.read()

    def destroy(self):
        self.client.delete_function(FunctionName=self.name)
        with pytest.raises(self.client.exceptions.ResourceNotFoundException):
            self.client.get_function(FunctionName=self.name)
        # What was deleted by somebody else is fine, too.
        with pytest.raises(self.client.exceptions.ResourceNotFoundException):
            self.client.delete_function(FunctionName=self.name)

    def _wait(self, member, pending, target):
        def status():
            found = self.client.get_function(FunctionName=self.name)["Configuration"].get(member)
            assert found in (pending, target), found
            return found

        self._until(target, status)

    def _until(self, target, status):
        deadline = time.monotonic() + WAIT_S
        while (found := status()) != target:
            assert time.monotonic() < deadline, found
            time.sleep(PAUSE_S)


@pytest.fixture
def terraform(client):
    terraform = Terraform(client, fresh_name("terraform"))
    yield terraform
    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
        client.delete_function(FunctionName=terraform.name)


def minimal(**more):
    return {
        "Runtime": functions.RUNTIME,
        "Role": functions.ROLE,
        "Handler": "app.handler",
        "Code": {"ZipFile": zip_of(functions.ACTOR)},
        # The provider has defaults of its own for these.
        "Description": "",
        "MemorySize": 128,
        "Timeout": 3,
        "Publish": False,
        **more,
    }


def settings():
    """Every block that the resource has and Warren serves or keeps."""
    return {
        "Description": "mänaged",
        "MemorySize": 256,
        "Timeout": 7,
        "Environment": {"Variables": {"COLOUR": "red", "EMPTY": ""}},
        "EphemeralStorage": {"Size": 1024},
        "TracingConfig": {"Mode": "Active"},
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "Ipv6AllowedForDualStack": True},
        "DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"},
        "KMSKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1",
        "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "WARN", "LogGroup": "/own"},
    }


def assert_as_written(found, written):
    """Nothing that was written reads differently; a block may have members that only reads have."""
    for member, value in written.items():
        if isinstance(value, dict):
            assert member in found, member
            assert_as_written(found[member], value)
        else:
            assert found.get(member) == value, (member, found.get(member))


def test_a_minimal_function(warren, client, terraform):
    assert warren.client("sts").get_caller_identity()["Account"] == ACCOUNT
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=terraform.name)
    first = terraform.create(**minimal())
    assert terraform.read() == first
    function = first["function"]
    # Attributes that are not in the plan read as absent or as the provider's default.
    assert "Tags" not in function and "Concurrency" not in function
    assert first["tags"] == {"Tags": {}} and first["signing"].get("CodeSigningConfigArn") is None
    configuration = function["Configuration"]
    assert configuration["PackageType"] == "Zip" and configuration["TracingConfig"] == {"Mode": "PassThrough"}
    assert configuration["EphemeralStorage"] == {"Size": 512} and configuration["Description"] == ""
    for absent in ("Environment", "VpcConfig", "DeadLetterConfig", "KMSKeyArn", "Layers", "FileSystemConfigs"):
        assert not configuration.get(absent), absent
    # The last of the versions makes `version` and `qualified_arn`.
    assert [version["FunctionArn"] for version in first["versions"]] == [arn(terraform.name) + ":$LATEST"]
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_policy(FunctionName=terraform.name)
    terraform.destroy()


def test_create_refresh_update_destroy(client, terraform):
    tags = {"team": "blue", "stage": "test"}
    first = terraform.create(reserved=5, **minimal(**settings(), Tags=tags))
    assert terraform.read() == first
    function = first["function"]
    assert_as_written(function["Configuration"], settings())
    assert function["Tags"] == tags and first["tags"] == {"Tags": tags}
    assert function["Concurrency"] == {"ReservedConcurrentExecutions": 5}

    # Some attributes change, others do not and are not sent.
    changes = {"Timeout": 9, "Environment": {"Variables": {"COLOUR": "green"}}, "TracingConfig": {"Mode": "PassThrough"}}
    second = terraform.update(changes, code=zip_of(functions.ECHO), reserved=0, publish=True)
    assert terraform.read() == second
    configuration = second["function"]["Configuration"]
    assert_as_written(configuration, {**settings(), **changes})
    assert configuration["Environment"]["Variables"] == {"COLOUR": "green"}
    assert configuration["CodeSha256"] != function["Configuration"]["CodeSha256"]
    assert second["function"]["Concurrency"] == {"ReservedConcurrentExecutions": 0}
    assert [version["Version"] for version in second["versions"]] == ["$LATEST", "1"]
    assert second["versions"][-1]["FunctionArn"] == arn(terraform.name) + ":1"

    third = terraform.tag(["stage"], {"team": "red"})
    assert third["function"]["Tags"] == {"team": "red"}
    # Tags are no part of the configuration.
    assert third["function"]["Configuration"] == configuration

    # All blocks are gone from the plan.
    fourth = terraform.update(REMOVED, reserved=-1)
    assert terraform.read() == fourth
    configuration = fourth["function"]["Configuration"]
    for absent in ("Environment", "DeadLetterConfig", "VpcConfig", "KMSKeyArn", "Layers", "FileSystemConfigs"):
        assert not configuration.get(absent), (absent, configuration[absent])
    assert configuration["Description"] == "" and "Concurrency" not in fourth["function"]
    assert configuration["Timeout"] == 9
    # What was published stays as it was.
    assert_as_written(fourth["versions"][-1], {**settings(), **changes})

    assert fourth["function"]["Tags"] == {"team": "red"}
    terraform.destroy()


def test_a_published_function_read_by_its_qualifier(client, terraform):
    """The data source asks for a version, and then for the concurrency, which no version has."""
    terraform.create(reserved=2, **minimal(Publish=True))
    found = client.get_function(FunctionName=terraform.name, Qualifier="1")
    assert found["Configuration"]["FunctionArn"] == arn(terraform.name) + ":1"
    assert "Concurrency" not in found
    assert client.get_function_concurrency(FunctionName=terraform.name)["ReservedConcurrentExecutions"] == 2
    terraform.destroy()


class CargoLambda:
    """`cargo lambda deploy`, which publishes on each deploy."""

    def __init__(self, warren, client, name):
        self.warren, self.client, self.name = warren, client, name

    def deploy(self, code, timeout, environment, tags):
        """Gives the ARN and the version that the tool prints."""
        assert self.warren.client("sts").get_caller_identity()["Account"] == ACCOUNT
        try:
            found = self.client.get_function(FunctionName=self.name)["Configuration"]
        except self.client.exceptions.ResourceNotFoundException:
            created = self.client.create_function(
                FunctionName=self.name,
                Runtime=functions.RUNTIME,
                Handler="app.handler",
                Role=functions.ROLE,
                Architectures=[ARCHITECTURE],
                Code={"ZipFile": code},
                Publish=True,
                Timeout=timeout,
                TracingConfig={"Mode": "PassThrough"},
                Environment={"Variables": environment},
                Tags=tags,
            )
            return created["FunctionArn"], created["Version"]
        if found["State"] == "Pending" or found.get("LastUpdateStatus") == "InProgress":
            self.wait()
        changes = {}
        if found["Timeout"] != timeout:
            changes["Timeout"] = timeout
        if found.get("Environment", {}).get("Variables", {}) != environment:
            changes["Environment"] = {"Variables": environment}
        if changes:
            updated = self.client.update_function_configuration(FunctionName=self.name, **changes)
            if updated["LastUpdateStatus"] == "InProgress":
                self.wait()
        self.client.tag_resource(Resource=found["FunctionArn"], Tags=tags)
        updated = self.client.update_function_code(FunctionName=self.name, ZipFile=code, Publish=True)
        return updated["FunctionArn"], updated["Version"]

    def wait(self):
        deadline = time.monotonic() + WAIT_S
        while True:
            found = self.client.get_function_configuration(FunctionName=self.name)
            if found["State"] == "Active" and found.get("LastUpdateStatus") == "Successful":
                return
            assert time.monotonic() < deadline, found
            time.sleep(PAUSE_S)


def test_cargo_lambda_publishes_on_each_deploy(warren, client):
    tool = CargoLambda(warren, client, fresh_name("cargo"))
    red = {"timeout": 5, "environment": {"COLOUR": "red"}, "tags": {"team": "blue"}}
    assert tool.deploy(zip_of(functions.ACTOR), **red) == (arn(tool.name), "1")
    # At once, while the first may still be prepared.
    code = zip_of(functions.ACTOR + "\n")
    green = {"timeout": 6, "environment": {"COLOUR": "green"}, "tags": {"team": "red"}}
    answered_arn, version = tool.deploy(code, **green)
    assert answered_arn in (arn(tool.name), arn(tool.name) + ":2") and version == "2"
    tool.wait()
    # Nothing differs, so nothing is published.
    assert tool.deploy(code, **green)[1] == "2"
    tool.wait()
    versions = client.list_versions_by_function(FunctionName=tool.name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1", "2"]
    for version, colour in (("1", "red"), ("2", "green")):
        answer = client.invoke(FunctionName=tool.name, Qualifier=version)
        assert json.load(answer["Payload"])["env"] == colour
    assert client.list_tags(Resource=arn(tool.name))["Tags"] == {"team": "red"}
    client.delete_function(FunctionName=tool.name)
