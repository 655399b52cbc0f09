"""CreateFunction, GetFunction, ListFunctions, UpdateFunctionCode, UpdateFunctionConfiguration,
GetFunctionConfiguration, DeleteFunction.

Sources: lambda-api sections 3, 5 and 6, which record the service's defaults, texts and order.
"""

from __future__ import annotations

import asyncio
import base64
import platform
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from typing import Any

from lambdad.api.call import Call
from lambdad.api.operations import configuration, names
from lambdad.code.archive import ArchiveTooLarge, BadArchive
from lambdad.code.blobs import Blob, Blobs
from lambdad.invoke.registry import Registry
from lambdad.model import ids, limits
from lambdad.model.arn import function_arn
from lambdad.model.clock import Clock
from lambdad.model.errors import ApiError, conflict, invalid_parameter, not_found
from lambdad.model.function import Function, State, UpdateStatus

Params = Mapping[str, Any]
Result = dict[str, Any]

_OWN_ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
_PAGE_ITEMS = 50
_WRONG_REVISION = (
    "The Revision Id provided does not match the latest Revision Id. Call the "
    "GetFunction/GetAlias API to retrieve the latest Revision Id"
)


class FunctionOperations:
    """Functions, as the API shows them."""

    def __init__(
        self,
        registry: Registry,
        blobs: Blobs,
        disk: Executor,
        clock: Clock,
        *,
        region: str,
        account: str,
    ) -> None:
        self._registry, self._blobs, self._disk, self._clock = registry, blobs, disk, clock
        self._region, self._account = region, account

    async def CreateFunction(self, params: Params, _: Call) -> Result:
        name, _qualifier = names.read(params["FunctionName"], None, region=self._region)
        _check_name(name)
        if params.get("PackageType", "Zip") != "Zip" or "ImageUri" in params["Code"]:
            raise invalid_parameter("PackageType Image is not offered by lambdad yet.")
        if params.get("Publish"):
            raise invalid_parameter("Publish is not offered by lambdad yet.")
        if "Runtime" not in params or "Handler" not in params:
            raise invalid_parameter(
                "Runtime and Handler are mandatory parameters for functions created with "
                "deployment packages."
            )
        fields = await asyncio.to_thread(configuration.changes, params)
        architecture = _architecture(params) or _OWN_ARCHITECTURE
        if len(params.get("Tags", {})) > limits.tags_max:
            raise invalid_parameter("Number of tags exceeds resource tag limit.")
        if self._registry.find(name) is not None:
            raise conflict(f"Function already exist: {name}")
        defaults = {
            "timeout_s": limits.timeout_s_default,
            "memory_mb": limits.memory_mb_default,
            "tmp_mb": limits.tmp_mb_default,
        }
        async with self._stored(params["Code"]) as blob:
            function = Function(
                name=name,
                code_sha256=blob.sha256_base64,
                code_bytes=blob.zip_bytes,
                tree=blob.tree,
                architecture=architecture,
                revision_id=ids.request_id(),
                last_modified=self._clock.now(),
                tags=dict(params.get("Tags", {})),
                **(defaults | fields),
            )
            await self._registry.create(function)
        return self._shown(function)

    async def GetFunction(self, params: Params, call: Call) -> Result:
        function, qualifier = self._find(params)
        answer: Result = {
            "Configuration": self._shown(function, qualifier),
            "Code": {
                "RepositoryType": "S3",
                "Location": call.endpoint + call.code_path(function.tree),
            },
        }
        if function.tags:
            answer["Tags"] = dict(function.tags)
        return answer

    async def GetFunctionConfiguration(self, params: Params, _: Call) -> Result:
        return self._shown(*self._find(params))

    async def ListFunctions(self, params: Params, _: Call) -> Result:
        """In order of names; a marker is the last name of the page before."""
        after = _unmark(params.get("Marker"))
        qualifier = "$LATEST" if params.get("FunctionVersion") == "ALL" else None
        items = min(params.get("MaxItems", _PAGE_ITEMS), _PAGE_ITEMS)
        rest = [function for function in self._registry.all() if function.name > after]
        page = rest[:items]
        answer: Result = {
            "Functions": [
                configuration.render(
                    function, region=self._region, account=self._account, qualifier=qualifier
                )
                for function in page
            ]
        }
        if len(rest) > items:
            answer["NextMarker"] = base64.urlsafe_b64encode(page[-1].name.encode()).decode()
        return answer

    async def UpdateFunctionCode(self, params: Params, _: Call) -> Result:
        function = self._for_update(params)
        if "ImageUri" in params:
            raise invalid_parameter(
                "Please don't provide ImageUri when updating a function with packageType Zip."
            )
        if params.get("Publish"):
            raise invalid_parameter("Publish is not offered by lambdad yet.")
        architecture = _architecture(params) or function.architecture
        async with self._stored(params) as blob:
            new = self._changed(
                function,
                code_sha256=blob.sha256_base64,
                code_bytes=blob.zip_bytes,
                tree=blob.tree,
                architecture=architecture,
            )
            if params.get("DryRun"):
                return self._shown(new)
            return await self._change(function, new)

    async def UpdateFunctionConfiguration(self, params: Params, _: Call) -> Result:
        function = self._for_update(params)
        fields = await asyncio.to_thread(configuration.changes, params)
        return await self._change(function, self._changed(function, **fields))

    async def DeleteFunction(self, params: Params, _: Call) -> Result:
        name, qualifier = names.read(
            params["FunctionName"], params.get("Qualifier"), region=self._region
        )
        if self._registry.find(name) is None:
            raise not_found(f"Function not found: {self._arn(name)}")
        if qualifier == "$LATEST":
            raise invalid_parameter(
                "$LATEST version cannot be deleted without deleting the function."
            )
        if qualifier is not None and qualifier.isdigit():
            raise not_found(f"Function not found: {self._arn(name, qualifier)}")
        if qualifier is not None:
            raise invalid_parameter("Deletion of aliases is not currently supported.")
        await self._registry.delete(name)
        return {"StatusCode": 204}

    # --- parts ------------------------------------------------------------------------

    def _find(self, params: Params) -> tuple[Function, str | None]:
        name, qualifier = names.read(
            params["FunctionName"], params.get("Qualifier"), region=self._region
        )
        function = self._registry.find(name)
        if function is None or qualifier not in (None, "$LATEST"):
            raise not_found(f"Function not found: {self._arn(name, qualifier)}")
        return function, qualifier

    def _for_update(self, params: Params) -> Function:
        """The function, unless it is being updated or is not the one the client read."""
        function, _ = self._find(params)
        revision = params.get("RevisionId")
        if revision is not None and revision != function.revision_id:
            raise ApiError("PreconditionFailedException", _WRONG_REVISION, Type="User")
        if function.state is State.PENDING or function.update_status is UpdateStatus.IN_PROGRESS:
            raise conflict(
                "The operation cannot be performed at this time. "
                f"An update is in progress for resource: {self._arn(function.name)}"
            )
        return function

    def _changed(self, function: Function, **fields: object) -> Function:
        return function.changed(
            revision_id=ids.request_id(),
            last_modified=self._clock.now(),
            update_status=UpdateStatus.IN_PROGRESS,
            **fields,
        )

    async def _change(self, old: Function, new: Function) -> Result:
        await self._registry.change(old, new)
        return self._shown(new)

    @asynccontextmanager
    async def _stored(self, code: Params) -> AsyncIterator[Blob]:
        """A zip and its tree: kept meanwhile, and after that if a function has them.

        Raises:
            ApiError: as ``_store_code``.
        """
        blob = await self._store_code(code)
        try:
            yield blob
        finally:
            self._blobs.release(blob.tree)
            self._registry.forget_code(blob.tree)

    async def _store_code(self, code: Params) -> Blob:
        """Unpack a zip, off the loop.

        Raises:
            ApiError: no zip, not a zip, or too large.
        """
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
            return await asyncio.get_running_loop().run_in_executor(
                self._disk, self._blobs.add, archive
            )
        except BadArchive as error:
            raise invalid_parameter(
                "Could not unzip uploaded file. Please check your file, then try to upload again."
            ) from error
        except ArchiveTooLarge as error:
            raise invalid_parameter(
                f"Unzipped size must be smaller than {limits.unzipped_bytes_max} bytes"
            ) from error

    def _shown(self, function: Function, qualifier: str | None = None) -> Result:
        shown = configuration.render(
            function, region=self._region, account=self._account, qualifier=qualifier
        )
        return shown | configuration.render_state(function)

    def _arn(self, name: str, qualifier: str | None = None) -> str:
        return function_arn(self._region, self._account, name, qualifier)


def _check_name(name: str) -> None:
    if len(name) > limits.name_characters_max:
        raise invalid_parameter(
            f"1 validation error detected: Value '{name}' at 'functionName' failed to satisfy "
            "constraint: Member must have length less than or equal to 64"
        )


def _architecture(params: Params) -> str | None:
    """The one architecture asked for, if this host has it."""
    asked = params.get("Architectures")
    if not asked:
        return None
    architecture: str = asked[0]
    if architecture != _OWN_ARCHITECTURE:
        raise invalid_parameter(
            f"The architecture {architecture} cannot run on this host, which is "
            f"{_OWN_ARCHITECTURE}."
        )
    return architecture


def _unmark(marker: str | None) -> str:
    try:
        return base64.b64decode(marker or "", altchars=b"-_", validate=True).decode()
    except ValueError:
        raise invalid_parameter("Invalid marker") from None


def table(operations: object) -> dict[str, Callable[..., Any]]:
    """The operations that an object offers: its public methods, named as in the model."""
    return {
        name: getattr(operations, name)
        for name in dir(operations)
        if name[:1].isupper() and callable(getattr(operations, name))
    }
