"""PublishVersion, ListVersionsByFunction.

Source: lambda-api sections 6 to 8, which record the service's answers and texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambdad.api.call import Call
from lambdad.api.operations.pages import page
from lambdad.api.operations.recorded import Recorded
from lambdad.invoke.registry import Registry
from lambdad.model.errors import invalid_parameter
from lambdad.model.function import LATEST, Function

Params = Mapping[str, Any]
Result = dict[str, Any]


class VersionOperations:
    """Published versions, as the API shows them."""

    def __init__(self, registry: Registry, *, region: str, account: str) -> None:
        self._registry = registry
        self._recorded = Recorded(registry, region=region, account=account)

    async def PublishVersion(self, params: Params, _: Call) -> Result:
        latest = self._recorded.for_update(params)
        refuse_publish_to(params)
        given = params.get("CodeSha256")
        if given and given != latest.code_sha256:
            raise invalid_parameter(
                f"CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST "
                f"({latest.code_sha256}). Please try again with the CodeSHA256 in $LATEST."
            )
        version = self._registry.last_published(latest.name)
        if version is None or not latest.publishes_as(version):
            await self._registry.renew(latest)
            version = await self._registry.publish(latest, params.get("Description"))
        return self._recorded.shown(version, version.version)

    async def ListVersionsByFunction(self, params: Params, _: Call) -> Result:
        name, _qualifier = self._recorded.named(params)
        versions = self._registry.versions(name)
        if not versions:
            raise self._recorded.not_found(name)
        shown, marker = page(params, versions, in_order)
        listed = [self._recorded.listed(version, version.version) for version in shown]
        return {"Versions": listed, **marker}


def in_order(function: Function) -> str:
    """A text by which versions are in order: by name, then ``$LATEST``, then by number."""
    number = 0 if function.version == LATEST else int(function.version)
    return f"{function.name} {number:019d}"


def refuse_publish_to(params: Params) -> None:
    """Refuse what only functions of a capacity provider have.

    Raises:
        ApiError: it is asked for.
    """
    if params.get("PublishTo"):
        raise invalid_parameter("PublishTo is not offered by lambdad yet.")
