"""An alias of a function, as the control plane records it: an immutable value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for a version of a function; a second one may have a share of its invocations.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html

    Attributes:
        function: the name of the function.
        name: unlike that of any version.
        version: ``$LATEST`` or a number; what other versions do not get is its.
        revision_id: a new one with every change.
        weights: the shares of other versions, from 0 to 1, by number; AWS has one at most.
    """

    function: str
    name: str
    version: str
    revision_id: str
    description: str = ""
    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def versions(self) -> tuple[str, ...]:
        """All that it may invoke."""
        return (self.version, *self.weights)

    def drawn(self, lot: float) -> str:
        """The version that an invocation runs on.

        Args:
            lot: at least 0 and less than 1, all values being as likely.
        """
        for version, weight in self.weights.items():
            if lot < weight:
                return version
            lot -= weight
        return self.version
