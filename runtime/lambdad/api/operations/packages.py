"""From the zips of a request to trees that are kept, or to AWS's refusal: code and layers alike.

What is stored or merged here is held until the context ends: by then its user is recorded, or it
goes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from lambdad.code.archive import ArchiveTooLarge, BadArchive
from lambdad.code.blobs import Blob, Blobs
from lambdad.model import limits
from lambdad.model.errors import ApiError, invalid_parameter
from lambdad.model.layer import LayerRef, LayerVersion

_Result = TypeVar("_Result")


class Packages:
    """What is uploaded, on its way to the disk.

    Args:
        blobs: where it is kept.
        disk: the threads that may wait for the disk.
        forget: lets a tree go, unless it is in use.
    """

    def __init__(self, blobs: Blobs, disk: Executor, forget: Callable[[str], None]) -> None:
        self._blobs, self._disk, self._forget = blobs, disk, forget

    @asynccontextmanager
    async def stored(self, code: Mapping[str, Any]) -> AsyncIterator[Blob]:
        """A zip and its tree.

        Raises:
            ApiError: no zip, not a zip, or too large.
        """
        blob = await self._store(code)
        try:
            yield blob
        finally:
            self._let_go(blob.tree)

    @contextmanager
    def held(self, tree: str) -> Iterator[None]:
        """Let a tree that is in use be where it is, used or not, while the context lasts."""
        self._blobs.hold(tree)
        try:
            yield
        finally:
            self._let_go(tree)

    @asynccontextmanager
    async def merged(self, layers: Sequence[LayerVersion], code: str) -> AsyncIterator[str | None]:
        """The name of the tree that layers make together; None if there are none.

        They are held from the first moment on, so whoever has just found them has them still.

        Raises:
            ApiError: they are too large, together with the tree of the code.
        """
        for layer in layers:
            self._blobs.hold(layer.tree)
        tree = None
        try:
            if layers:
                await self.check_total(code, layers)
                tree = await self._on_disk(self._blobs.merge, [layer.tree for layer in layers])
            yield tree
        finally:
            for held in [layer.tree for layer in layers] + ([tree] if tree else []):
                self._let_go(held)

    async def check_total(self, code: str, layers: Sequence[LayerVersion | LayerRef]) -> None:
        """See that code and layers together are not too large.

        Raises:
            ApiError: they are.
        """
        if not layers:
            return
        size = await self.unzipped_bytes(code) + sum(layer.unzipped_bytes for layer in layers)
        if size > limits.unzipped_bytes_max:
            raise invalid_parameter(
                "Function code combined with layers exceeds the maximum allowed size of "
                f"{limits.unzipped_bytes_max} bytes. The actual size is {size} bytes."
            )

    async def unzipped_bytes(self, tree: str) -> int:
        return await self._on_disk(self._blobs.unzipped_bytes, tree)

    async def _store(self, code: Mapping[str, Any]) -> Blob:
        if "ZipFile" not in code:
            raise invalid_parameter(
                "Code from S3 is not offered by lambdad yet. Please provide ZipFile."
            )
        archive = code["ZipFile"]
        if len(archive) > limits.zip_bytes_max:
            raise ApiError(
                "RequestEntityTooLargeException",
                f"Zipped size must be smaller than {limits.zip_bytes_max} bytes",
            )
        try:
            return await self._on_disk(self._blobs.add, archive)
        except BadArchive as error:
            raise invalid_parameter(
                "Could not unzip uploaded file. Please check your file, then try to upload again."
            ) from error
        except ArchiveTooLarge as error:
            raise invalid_parameter(
                f"Unzipped size must be smaller than {limits.unzipped_bytes_max} bytes"
            ) from error

    def _let_go(self, tree: str) -> None:
        self._blobs.release(tree)
        self._forget(tree)

    async def _on_disk(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)
