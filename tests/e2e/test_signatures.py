"""Nobody gets in without the key pair, and nothing that was signed can be altered."""

import datetime
import http.client
import json

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from server import REGION

FUNCTIONS = "/2015-03-31/functions"


def send(warren, method, path, headers, body):
    connection = http.client.HTTPConnection(*warren.control, timeout=30)
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def signed(warren, path=FUNCTIONS, body=b"", method="GET", headers=None, **other):
    """Path, headers and body of a request, signed with the right or with another key, secret, service or region."""
    key_id, secret = warren.keys()
    credentials = Credentials(other.get("key_id", key_id), other.get("secret", secret), other.get("token"))
    request = AWSRequest(method=method, url=warren.url + path, data=body, headers=headers or {})
    SigV4Auth(credentials, other.get("service", "lambda"), other.get("region", REGION)).add_auth(request)
    return dict(request.headers.items())


def outcome(warren, method, path, headers, body):
    status, answered, content = send(warren, method, path, headers, body)
    assert answered["x-amzn-RequestId"]
    message = ""
    if status >= 400:
        found = json.loads(content)
        message = found.get("message") or found.get("Message")
    return status, answered.get("x-amzn-ErrorType"), message


def test_a_right_signature_opens(warren):
    for path in (FUNCTIONS, FUNCTIONS + "/", FUNCTIONS + "?MaxItems=5&FunctionVersion=ALL"):
        assert outcome(warren, "GET", path, signed(warren, path), b"")[0] == 200
    token = signed(warren, token="a/session+token==")
    assert outcome(warren, "GET", FUNCTIONS, token, b"")[0] == 200


def test_no_signature(warren):
    status, code, message = outcome(warren, "GET", FUNCTIONS, {}, b"")
    assert (status, code) == (403, "MissingAuthenticationTokenException")
    assert "warren env" in message


@pytest.mark.parametrize(
    ("code", "words", "other"),
    [
        ("UnrecognizedClientException", "security token included in the request is invalid", {"key_id": "WARRENXXXXXXXXXXXXXX"}),
        ("InvalidSignatureException", "does not match the signature you provided", {"secret": "x" * 40}),
        ("InvalidSignatureException", "correct service: 'lambda'", {"service": "s3"}),
        ("InvalidSignatureException", "valid region", {"region": "eu-west-1"}),
    ],
)
def test_signed_with_something_else(warren, code, words, other):
    status, found, message = outcome(warren, "GET", FUNCTIONS, signed(warren, **other), b"")
    assert (status, found) == (403, code)
    assert words in message


@pytest.mark.parametrize("minutes", [-16, 16])
def test_another_date(warren, monkeypatch, minutes):
    moved = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: moved.replace(tzinfo=None))
    status, code, message = outcome(warren, "GET", FUNCTIONS, signed(warren), b"")
    assert (status, code) == (403, "InvalidSignatureException")
    assert message.startswith("Signature expired: " if minutes < 0 else "Signature not yet current: ")


def test_nothing_signed_can_be_altered(warren):
    path = f"{FUNCTIONS}/f/invocations?Qualifier=1"
    headers = signed(warren, path, b"{}", "POST", {"X-Amz-Invocation-Type": "DryRun"})
    right = ("POST", path, headers, b"{}")
    # The signature is right, so the answer is about the function, which is not there.
    assert outcome(warren, *right)[:2] == (404, "ResourceNotFoundException")
    for altered in [
        ("GET", path, headers, b"{}"),
        ("POST", path.replace("/f/", "/g/"), headers, b"{}"),
        ("POST", path.replace("=1", "=2"), headers, b"{}"),
        ("POST", path + "&x=1", headers, b"{}"),
        ("POST", path, headers, b'{"a":1}'),
        ("POST", path, headers, b""),
        ("POST", path, {**headers, "X-Amz-Invocation-Type": "RequestResponse"}, b"{}"),
        ("POST", path, {**headers, "X-Amz-Log-Type": "Tail"}, b"{}"),
        ("POST", path, {**headers, "Host": "example.org"}, b"{}"),
        ("POST", path, {**headers, "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"}, b"{}"),
    ]:
        assert outcome(warren, *altered)[:2] == (403, "InvalidSignatureException"), altered[:2]


def test_a_body_is_not_read_for_strangers(warren):
    # Far more than any limit is announced; the answer comes all the same.
    connection = http.client.HTTPConnection(*warren.control, timeout=10)
    connection.putrequest("POST", FUNCTIONS)
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    assert connection.getresponse().status == 403
    connection.close()


def test_unknown_paths(warren):
    for path in ("/", "/2015-03-31/nonsense", "/2015-03-31/functions/f/nonsense"):
        status, code, message = outcome(warren, "GET", path, signed(warren, path), b"")
        assert (status, code) == (404, "UnknownOperationException"), path
        assert path in message
        assert outcome(warren, "GET", path, {}, b"")[0] == 403


def test_sts_tells_in_its_own_form(warren):
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    headers = signed(warren, "/", body, "POST", service="sts", secret="x" * 40)
    status, answered, content = send(warren, "POST", "/", headers, body)
    assert (status, answered["Content-Type"]) == (403, "text/xml")
    assert b"<Code>SignatureDoesNotMatch</Code>" in content


def test_the_key_file_is_private(warren):
    assert (warren.folder / "credentials").stat().st_mode & 0o777 == 0o600
