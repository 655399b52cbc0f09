"""Signature version 4: whether a request was signed by who has one of our keys; and to sign. Pure.

Requests are taken exactly as they came: neither path nor query is normalised, so what was signed
is what is served. ``UNSIGNED-PAYLOAD`` and signatures in the query are not taken: Lambda's
clients send neither. An unknown key, a wrong token and a wrong signature get the same answer,
after the same work.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from lambdad.model import limits
from lambdad.model.errors import ApiError

_ALGORITHM = "AWS4-HMAC-SHA256"
_TERMINATOR = "aws4_request"
_BASIC_FORMAT = "%Y%m%dT%H%M%SZ"
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z", re.ASCII)
_IN_QUERY = re.compile(r"(?:^|&)X-Amz-(?:Signature|Algorithm|Credential)=", re.IGNORECASE)
# What an unknown key is compared with; what it gives is never accepted.
_NOBODYS = "0" * 40

_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method. Consult the service documentation for details."
)


@dataclass(frozen=True, slots=True)
class Key:
    """A secret that may sign, and the session token that must come with it, if any."""

    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


Keys = Mapping[str, Key]


@dataclass(frozen=True, slots=True)
class Signed:
    """The part of a request that is there before its body.

    Attributes:
        path, query: raw, as they stood in the request line.
        headers: by name in lower case; values of one name joined with commas, as signed.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says about its signature; nothing of it is proven."""

    access_key_id: str
    scope: str
    signed_headers: tuple[str, ...]
    signature: str
    date: str


def joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers in canonical form: names in lower case, blanks single, repeated ones in one line."""
    found: dict[str, str] = {}
    for name, value in headers:
        trimmed, lower = " ".join(value.split()), name.lower()
        found[lower] = f"{found[lower]},{trimmed}" if lower in found else trimmed
    return found


def read_claim(request: Signed, region: str, now: float, service: str = "lambda") -> Claim:
    """What a request claims, if that can be accepted at this time; needs no body and no secret.

    Raises:
        ApiError: it is not signed, or not for this service, this region or this time.
    """
    claim = _parse(request)
    problem = _wrong_scope(claim, region, service) or _wrong_time(claim.date, now)
    if problem is None and not {"host", _date_header(request)} <= set(claim.signed_headers):
        problem = "'Host' and the date must be a 'SignedHeader' in the AWS Authorization."
    if problem is not None:
        raise ApiError("InvalidSignatureException", problem)
    return claim


def check(claim: Claim, request: Signed, body_sha256: str, keys: Keys) -> None:
    """Accept a claim that was read from this request.

    The hash is of the body that came, in hexadecimal; never what a header says it is.

    Raises:
        ApiError: nobody who has one of the keys has signed this.
    """
    key = keys.get(claim.access_key_id)
    secret, token = (key.secret, key.session_token) if key else (_NOBODYS, None)
    expected = _signature(secret, claim, _canonical(request, claim.signed_headers, body_sha256))
    good = hmac.compare_digest(expected.encode(), claim.signature.encode("utf-8", "replace"))
    sent = request.headers.get("x-amz-security-token", "")
    good &= hmac.compare_digest((token or "").encode(), sent.encode("utf-8", "replace"))
    # A body hash that is sent is part of what was signed: AWS's clients send the right one.
    good &= request.headers.get("x-amz-content-sha256", body_sha256) == body_sha256
    if key is None or not good:
        raise ApiError("InvalidSignatureException", _MISMATCH)


def authorization(
    request: Signed, body_sha256: str, access_key_id: str, secret: str, scope: tuple[str, str]
) -> str:
    """The ``Authorization`` of a request, all of whose headers are signed.

    Args:
        request: has the headers ``host`` and ``x-amz-date``.
        body_sha256: of the body, in hexadecimal.
        access_key_id: of the key that signs.
        secret: the key itself.
        scope: region and service.
    """
    date, names = request.headers["x-amz-date"], tuple(sorted(request.headers))
    place = "/".join((date[:8], *scope, _TERMINATOR))
    claim = Claim(access_key_id, place, names, "", date)
    signature = _signature(secret, claim, _canonical(request, names, body_sha256))
    return (
        f"{_ALGORITHM} Credential={access_key_id}/{place}, SignedHeaders={';'.join(names)}, "
        f"Signature={signature}"
    )


def basic_format(epoch_s: float) -> str:
    """A moment as ``X-Amz-Date`` has it: ``20261121T093000Z``."""
    return dt.datetime.fromtimestamp(epoch_s, dt.UTC).strftime(_BASIC_FORMAT)


def _parse(request: Signed) -> Claim:
    said = request.headers.get("authorization")
    if said is None:
        if _IN_QUERY.search(request.query):
            raise ApiError(
                "IncompleteSignatureException", "Authorization in the query is not supported."
            )
        raise ApiError("MissingAuthenticationTokenException", "Missing Authentication Token")
    algorithm, _, rest = said.partition(" ")
    if algorithm != _ALGORITHM:
        raise ApiError(
            "IncompleteSignatureException", "Unsupported AWS 'algorithm' in Authorization."
        )
    pairs = [part.strip().partition("=") for part in rest.split(",")]
    given = {name: value for name, _, value in pairs}
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not given.get(name)
    ]
    if len(given) != len(pairs):
        missing.append("Authorization header repeats a parameter.")
    date = _basic_date(request)
    if date is None:
        missing.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
    access_key_id, _, scope = given.get("Credential", "").partition("/")
    if missing or date is None:
        raise ApiError("IncompleteSignatureException", " ".join(missing))
    names = tuple(given["SignedHeaders"].split(";"))
    return Claim(access_key_id, scope, names, given["Signature"], date)


def _date_header(request: Signed) -> str:
    return "x-amz-date" if "x-amz-date" in request.headers else "date"


def _basic_date(request: Signed) -> str | None:
    """When it was signed, as ``YYYYMMDDTHHMMSSZ``; None if it does not say."""
    said = request.headers.get(_date_header(request), "")
    try:
        if _DATE.fullmatch(said):
            _epoch(said)
            return said
        return parsedate_to_datetime(said).astimezone(dt.UTC).strftime(_BASIC_FORMAT)
    except (ValueError, OverflowError):
        return None


def _epoch(basic_date: str) -> float:
    return dt.datetime.strptime(basic_date, _BASIC_FORMAT).replace(tzinfo=dt.UTC).timestamp()


def _wrong_scope(claim: Claim, region: str, service: str) -> str | None:
    date, *place = claim.scope.split("/")
    if len(place) != 3:
        return (
            "Credential must have exactly 5 slash-delimited elements, "
            "e.g. keyid/date/region/service/term."
        )
    if place[0] != region:
        return f"Credential should be scoped to a valid region, here '{region}'."
    if place[1] != service:
        return f"Credential should be scoped to correct service: '{service}'."
    if place[2] != _TERMINATOR:
        return f"Credential should be scoped with a valid terminator: '{_TERMINATOR}'."
    if date != claim.date[:8]:
        return (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
            f"from HTTP, '{claim.date}'."
        )
    return None


def _wrong_time(date: str, now: float) -> str | None:
    skew_s = limits.signature_skew_s_max
    signed, minutes = _epoch(date), skew_s // 60
    if signed < now - skew_s:
        last = f"{basic_format(now - skew_s)} ({basic_format(now)} - {minutes} min.)"
        return f"Signature expired: {date} is now earlier than {last}"
    if signed > now + skew_s:
        first = f"{basic_format(now + skew_s)} ({basic_format(now)} + {minutes} min.)"
        return f"Signature not yet current: {date} is still later than {first}"
    return None


def _canonical(request: Signed, signed_headers: tuple[str, ...], body_sha256: str) -> str:
    """The canonical request; its path is encoded once more than it was sent, as for all of AWS
    but S3.
    """
    pairs = sorted(pair.partition("=")[::2] for pair in request.query.split("&") if pair)
    headers = [f"{name}:{request.headers.get(name, '')}\n" for name in signed_headers]
    return "\n".join(
        (
            request.method,
            quote(request.path, safe="/~", errors="surrogateescape"),
            "&".join(f"{name}={value}" for name, value in pairs),
            "".join(headers),
            ";".join(signed_headers),
            body_sha256,
        )
    )


def _signature(secret: str, claim: Claim, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in (*claim.scope.split("/"), f"{_ALGORITHM}\n{claim.date}\n{claim.scope}\n{digest}"):
        key = hmac.digest(key, part.encode("utf-8", "surrogateescape"), "sha256")
    return key.hex()
