"""Links to the zips of functions, as ``Code.Location`` has them: whoever has one may follow it.

Clients follow them without signing, as they do AWS's presigned links. Each is good for ten
minutes, at most until the daemon ends. Source:
https://docs.aws.amazon.com/lambda/latest/api/API_FunctionCodeLocation.html
"""

from __future__ import annotations

import hmac
import re
import secrets

from lambdad.model import limits

_PATH = re.compile(r"/lambdad/code/([0-9a-f]{64})\.zip")
_QUERY = re.compile(r"Expires=([0-9]{1,12})&Signature=([0-9a-f]{64})")


class CodeLinks:
    """Makes links and knows its own again."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def path(self, tree: str, now: float) -> str:
        """The path and query of a link to the zip of this digest."""
        expires = str(int(now) + limits.code_link_s)
        return f"/lambdad/code/{tree}.zip?Expires={expires}&Signature={self._sign(tree, expires)}"

    def tree(self, path: str, query: str, now: float) -> str | None:
        """The digest that a link is for.

        Returns:
            None if the path is no such link's; empty if the link was not made here, or is
            expired.
        """
        asked = _PATH.fullmatch(path)
        if asked is None:
            return None
        token = _QUERY.fullmatch(query)
        if token is None or int(token[1]) < now:
            return ""
        good = hmac.compare_digest(self._sign(asked[1], token[1]), token[2])
        return asked[1] if good else ""

    def _sign(self, tree: str, expires: str) -> str:
        return hmac.digest(self._key, f"{tree}\n{expires}".encode(), "sha256").hex()
