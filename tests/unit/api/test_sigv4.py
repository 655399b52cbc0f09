"""Against botocore, which signs as AWS's clients do."""

import datetime as dt
import hashlib
from dataclasses import replace
from unittest import mock
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdad.api import sigv4
from lambdad.model.errors import ApiError

NOW = 1_795_253_400.0
REGION = "eu-west-1"
KEYS = {"AKIAONE": sigv4.Key("one"), "ASIATWO": sigv4.Key("two", "token-of-two")}
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:fn:$LATEST"
PATH = f"/2015-03-31/functions/{quote(ARN, safe='')}/invocations"

labels = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda x: set(x) != {"."})
paths = st.lists(labels, min_size=1, max_size=5).map(
    lambda parts: "/" + "/".join(quote(part, safe="") for part in parts)
)
words = st.text(st.characters(codec="utf-8"), max_size=8).map(lambda text: quote(text, safe="-_.~"))
queries = st.lists(st.tuples(words, words), max_size=6).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


def sign(method="POST", path=PATH, query="", body=b"", headers=None, **who):
    """A request as botocore signs it, and the hash of its body."""
    url = f"http://127.0.0.1:3001{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, headers=headers or {}, data=body)
    by = Credentials(who.get("key", "AKIAONE"), who.get("secret", "one"), who.get("token"))
    moment = dt.datetime.fromtimestamp(who.get("at", NOW), dt.UTC).replace(tzinfo=None)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        SigV4Auth(by, who.get("service", "lambda"), who.get("region", REGION)).add_auth(request)
    sent = sigv4.joined([("Host", urlsplit(url).netloc), *request.headers.items()])
    return sigv4.Signed(method, path, query, sent), hashlib.sha256(body).hexdigest()


def verify(request, body_sha256, now=NOW):
    sigv4.check(sigv4.read_claim(request, REGION, now), request, body_sha256, KEYS)


def refusal(request, body_sha256, now=NOW):
    with pytest.raises(ApiError) as refused:
        verify(request, body_sha256, now)
    return refused.value.code, refused.value.message


def changed(request, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in {**request.headers, **named}.items() if value}
    return replace(request, headers=kept)


@settings(max_examples=150, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    path=paths,
    query=queries,
    body=st.binary(max_size=100),
    header=values,
)
def test_what_botocore_signs_is_accepted(method, path, query, body, header):
    verify(*sign(method, path, query, body, {"X-Amz-Meta": header, "x-other": f" a  {header} "}))


@pytest.mark.parametrize(
    "more",
    [
        {"query": "Qualifier=&Marker=b&Marker=a&Marker="},
        {"query": "flag"},
        {"headers": {"Date": "then"}},
        {"key": "ASIATWO", "secret": "two", "token": "token-of-two"},
        {"at": NOW - 300},
        {"at": NOW + 300},
    ],
)
def test_less_usual_ways_of_signing_are_accepted(more):
    verify(*sign(**more))


def test_every_part_that_was_signed_counts():
    request, digest = sign(query="Qualifier=1", body=b"{}", headers={"X-Amz-Log-Type": "Tail"})
    verify(request, digest)
    claimed = request.headers["authorization"]
    forged = claimed[:-1] + ("0" if claimed[-1] != "0" else "1")
    others = [
        (replace(request, method="GET"), digest),
        (replace(request, path=PATH.replace("fn", "fm")), digest),
        (replace(request, path=PATH.replace("%3A", ":")), digest),
        (replace(request, query="Qualifier=2"), digest),
        (replace(request, query=""), digest),
        (replace(request, query="Qualifier=1&Qualifier=1"), digest),
        (request, hashlib.sha256(b"[]").hexdigest()),
        (changed(request, host="elsewhere.example"), digest),
        (changed(request, x_amz_log_type="None"), digest),
        (changed(request, x_amz_log_type=None), digest),
        (changed(request, x_amz_date="20261121T093001Z"), digest),
        (changed(request, x_amz_security_token="any"), digest),
        (changed(request, x_amz_content_sha256="UNSIGNED-PAYLOAD"), digest),
        (changed(request, authorization=forged), digest),
        (changed(request, authorization=claimed.replace("AKIAONE", "ASIATWO")), digest),
        (changed(request, authorization=claimed.replace("AKIAONE", "AKIANONE")), digest),
        (changed(request, authorization=claimed.replace("Signature=", "Signature=é")), digest),
    ]
    told = {refusal(*other) for other in others}
    assert {code for code, _ in told} == {"InvalidSignatureException"}
    assert len(told) == 1, "all are told the same"


@pytest.mark.parametrize(
    "who",
    [
        {"secret": "wrong"},
        {"key": "AKIANONE"},
        {"key": "ASIATWO", "secret": "two"},
        {"key": "ASIATWO", "secret": "two", "token": "token-of-one"},
        {"secret": "one", "token": "token-of-two"},
        {"key": "AKIANONE", "secret": "0" * 40},
    ],
)
def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(who):
    code, message = refusal(*sign(**who))
    assert code == "InvalidSignatureException"
    assert message.startswith("The request signature we calculated does not match")


@pytest.mark.parametrize(
    ("who", "text"),
    [
        ({"region": "us-east-1"}, "Credential should be scoped to a valid region"),
        ({"service": "s3"}, "Credential should be scoped to correct service: 'lambda'."),
        ({"at": NOW - 301}, "Signature expired: 20261121T092459Z is now earlier than 20261121T0"),
        ({"at": NOW + 301}, "Signature not yet current: "),
    ],
)
def test_a_signature_is_for_here_and_now(who, text):
    assert sigv4.basic_format(NOW) == "20261121T093000Z"
    code, message = refusal(*sign(**who))
    assert (code, message[: len(text)]) == ("InvalidSignatureException", text)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("SignedHeaders=host;", "SignedHeaders=", "InvalidSignatureException"),
        (";x-amz-date", "", "InvalidSignatureException"),
        ("aws4_request", "aws5_request", "InvalidSignatureException"),
        ("/20261121/", "/20261120/", "InvalidSignatureException"),
        ("/lambda/", "/", "InvalidSignatureException"),
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", "IncompleteSignatureException"),
        ("Signature=", "Sign=", "IncompleteSignatureException"),
        ("Credential=", "", "IncompleteSignatureException"),
        ("SignedHeaders=", "Signature=0, SignedHeaders=", "IncompleteSignatureException"),
        ("AWS4-HMAC-SHA256 ", "Bearer ", "IncompleteSignatureException"),
    ],
)
def test_what_is_said_of_a_signature_must_be_whole(old, new, code):
    request, digest = sign()
    said = request.headers["authorization"]
    assert old in said
    assert refusal(changed(request, authorization=said.replace(old, new, 1)), digest)[0] == code


@pytest.mark.parametrize(
    "date",
    ["", "yesterday", "20261399T999999Z", "\u0662\u0660261121T093000Z", "2026-11-21T09:30:00Z"],
)
def test_a_signature_without_a_date_is_incomplete(date):
    request, digest = sign()
    assert refusal(changed(request, x_amz_date=date), digest)[0] == "IncompleteSignatureException"


def test_who_does_not_sign_is_told_so():
    bare = sigv4.Signed("GET", PATH, "", {"host": "localhost"})
    assert refusal(bare, "") == (
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    )
    in_query = replace(bare, query="X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0")
    assert refusal(in_query, "")[0] == "IncompleteSignatureException"


@settings(max_examples=200, deadline=None)
@given(said=st.text(max_size=60), date=st.text(max_size=20), path=st.text(max_size=20))
def test_no_words_of_a_stranger_are_more_than_refused(said, date, path):
    for text in (said, f"AWS4-HMAC-SHA256 {said}", f"AWS4-HMAC-SHA256 Credential={said}"):
        request = sigv4.Signed("GET", path, said, {"authorization": text, "x-amz-date": date})
        refusal(request, "")


def test_secrets_do_not_show():
    assert "secret" not in repr(sigv4.Key("secret-one", "secret-two"))
