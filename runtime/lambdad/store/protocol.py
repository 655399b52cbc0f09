"""What a store does: deeds, one transaction each.

A store is defined by ``tests/conformance/store``, which every driver must pass. Nothing of a
database is seen here: no connection, no cursor, no id made by it. Time and ids come in as values.

Every deed may raise ``PlatformFault``: the disk is full, the database is damaged, the store does
not run. A deed that was waited for is durable; one that was cancelled may have happened.
"""

from __future__ import annotations

from typing import Protocol

from lambdad.model.alias import Alias
from lambdad.model.event import Event
from lambdad.model.function import Function
from lambdad.model.layer import LayerVersion
from lambdad.model.provisioned import ProvisionedConcurrency


class AlreadyExists(Exception):
    """There is one of this name."""


class Aliases(Protocol):
    """The aliases of functions, under the names of both, and what is provisioned of either."""

    async def create_alias(self, alias: Alias) -> bool:
        """Keep a new alias.

        Returns:
            Whether there is such a function, and the name was free; if not, nothing has changed.
        """

    async def aliases(self) -> list[Alias]:
        """All of them, in the order of the bytes of their functions' names, then of theirs."""

    async def replace_alias(self, new: Alias, *, expected_revision: str) -> bool:
        """Put ``new`` in place of the alias of its name, if that is at the expected revision.

        Returns:
            Whether it was; if not, nothing has changed.
        """

    async def delete_alias(self, function: str, name: str) -> bool:
        """Forget an alias and what is provisioned of it; whether there was one."""

    async def provision_concurrency(self, wanted: ProvisionedConcurrency) -> bool:
        """Note what is wanted, in place of what was; whether there is such a function."""

    async def provisioned_concurrency(self) -> list[ProvisionedConcurrency]:
        """All that is wanted, in the order of the bytes of functions' names and qualifiers."""

    async def release_concurrency(self, function: str, qualifier: str) -> bool:
        """Note that none is wanted any more; whether any was."""


class Functions(Aliases, Protocol):
    """The functions, one record each, under their names; and what is recorded of them."""

    async def create_function(self, function: Function) -> None:
        """Keep a new function.

        Raises:
            AlreadyExists: the name is taken; the record under it is untouched.
        """

    async def functions(self) -> list[Function]:
        """All functions, in the order of their names' bytes."""

    async def replace_function(self, new: Function, *, expected_revision: str) -> bool:
        """Put ``new`` in place of the function of its name, if that is at the expected revision.

        Returns:
            Whether it was; if not, nothing has changed.
        """

    async def delete_function(self, name: str) -> bool:
        """Forget a function and all that is recorded of it; whether there was one."""

    async def reserve_concurrency(self, name: str, count: int | None) -> bool:
        """Note how many invocations of a function may run; None for no such number.

        Returns:
            Whether there is such a function.
        """

    async def reserved_concurrency(self) -> dict[str, int]:
        """The functions that have such a number, by name."""

    async def create_version(self, function: Function) -> bool:
        """Keep a published version of a function.

        Returns:
            Whether there is such a function and the number was never taken.
        """

    async def versions(self) -> list[Function]:
        """All published versions, in the order of their names' bytes, then of their numbers."""

    async def last_versions(self) -> dict[str, int]:
        """The highest number ever taken of a function, by name; also where none is left."""

    async def replace_version(self, function: Function) -> bool:
        """Put this in the place of the version of its name and number; whether there was one."""

    async def delete_version(self, name: str, version: str) -> bool:
        """Forget a version and what is provisioned of it, but not its number; whether it was."""


class LayerVersions(Protocol):
    """The versions of layers, one record each, under their names and numbers."""

    async def create_layer_version(self, layer: LayerVersion) -> None:
        """Keep a new version.

        Raises:
            AlreadyExists: the number is taken, or was; nothing has changed.
        """

    async def layer_versions(self) -> list[LayerVersion]:
        """All of them, in the order of their names' bytes, then of their numbers."""

    async def last_layer_versions(self) -> dict[str, int]:
        """The highest number ever taken, by name; also where none is left."""

    async def delete_layer_version(self, name: str, version: int) -> bool:
        """Forget a version, but not its number; whether there was one."""


class Events(Protocol):
    """Events that are still to be run, under their request ids."""

    async def add_event(self, event: Event) -> None:
        """Keep an event; one of the same request id that is there stays as it is."""

    async def events(self) -> dict[str, float]:
        """When each is due, by request id."""

    async def event(self, request_id: str) -> Event | None:
        """One of them, if it is there: events go with their function."""

    async def retry_event(self, request_id: str, attempts: int, due: float) -> bool:
        """Note how often it has failed and when it is due again; whether it is there."""

    async def remove_event(self, request_id: str) -> bool:
        """Forget it; whether it was there."""


class Store(Functions, LayerVersions, Events, Protocol):
    """The durable memory of the daemon."""

    async def start(self) -> None:
        """Open it, making or updating what is on disk.

        Raises:
            PlatformFault: it cannot be opened, is damaged, or belongs to something else.
        """

    async def stop(self) -> None:
        """Carry out what was accepted, then close. Does nothing if it does not run."""
