"""The functions that requests name: found, or refused in AWS's words; and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambdad.api.operations import configuration, names
from lambdad.invoke.registry import Registry
from lambdad.model.arn import function_arn
from lambdad.model.errors import ApiError, conflict, not_found
from lambdad.model.function import LATEST, Function, State, UpdateStatus


def wrong_revision() -> ApiError:
    """Functions and aliases share the words."""
    return ApiError(
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the "
        "GetFunction/GetAlias API to retrieve the latest Revision Id",
        Type="User",
    )


class Recorded:
    """What is recorded of functions, for the operations that read or change it."""

    def __init__(self, registry: Registry, *, region: str, account: str) -> None:
        self._registry = registry
        self._region, self._account = region, account

    def named(self, params: Mapping[str, Any]) -> tuple[str, str | None]:
        """The name and the qualifier that a request gives.

        Raises:
            ApiError: they contradict each other, or are of another region.
        """
        return names.read(params["FunctionName"], params.get("Qualifier"), region=self._region)

    def find(self, params: Mapping[str, Any]) -> tuple[Function, str | None]:
        """The version of a function that a request means, and the qualifier that it gives.

        Raises:
            ApiError: there is none.
        """
        name, qualifier = self.named(params)
        function = self._registry.qualified(name, qualifier)
        if function is None:
            raise self.not_found(name, qualifier)
        return function, qualifier

    def for_update(self, params: Mapping[str, Any]) -> Function:
        """The function, unless it is being updated or is not the one the client read.

        Raises:
            ApiError: it is, or there is none; versions are never updated.
        """
        function, qualifier = self.find(params)
        if qualifier not in (None, LATEST):
            raise self.not_found(function.name, qualifier)
        revision = params.get("RevisionId")
        if revision is not None and revision != function.revision_id:
            raise wrong_revision()
        if function.state is State.PENDING or function.update_status is UpdateStatus.IN_PROGRESS:
            raise self.in_progress(function.name)
        return function

    def in_progress(self, name: str, qualifier: str | None = None) -> ApiError:
        return conflict(
            "The operation cannot be performed at this time. "
            f"An update is in progress for resource: {self.arn(name, qualifier)}"
        )

    def not_found(self, name: str, qualifier: str | None = None) -> ApiError:
        return not_found(f"Function not found: {self.arn(name, qualifier)}")

    def shown(self, function: Function, qualifier: str | None = None) -> dict[str, Any]:
        """FunctionConfiguration with its states; the ARN is qualified as asked."""
        return self.listed(function, qualifier) | configuration.render_state(function)

    def listed(self, function: Function, qualifier: str | None = None) -> dict[str, Any]:
        """The same without states, as lists have it."""
        return configuration.render(
            function, region=self._region, account=self._account, qualifier=qualifier
        )

    def arn(self, name: str, qualifier: str | None = None) -> str:
        return function_arn(self._region, self._account, name, qualifier)
