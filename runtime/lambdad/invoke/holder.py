"""Who holds an environment: what a pool is told of those that it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lambdad.invoke.environment import Environment


class Holder(Protocol):
    """Who holds an environment."""

    def freed(self, environment: Environment) -> None:
        """It can be leased, or rests: it is told of each place that one with several has."""

    def answered(self, environment: Environment) -> None:
        """Its invoker has the payload; the runtime is about to come back."""

    def withdrawn(self, environment: Environment) -> None:
        """It cannot be leased any more, if it ever could."""

    def gone(self, environment: Environment) -> None:
        """Nothing of it is left."""
