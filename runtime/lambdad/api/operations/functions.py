"""CreateFunction, GetFunction, ListFunctions, UpdateFunctionCode, UpdateFunctionConfiguration,
GetFunctionConfiguration, DeleteFunction.

Sources: lambda-api sections 3, 5 and 6, which record the service's defaults, texts and order.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from lambdad.api.call import Call
from lambdad.api.operations import configuration, layers, names
from lambdad.api.operations.packages import Packages
from lambdad.api.operations.pages import page
from lambdad.api.operations.recorded import Recorded
from lambdad.api.operations.versions import in_order, refuse_publish_to
from lambdad.code.layers import Layers
from lambdad.invoke.registry import Registry
from lambdad.model import ids, limits
from lambdad.model.arn import layer_arn
from lambdad.model.clock import Clock
from lambdad.model.errors import conflict, invalid_parameter
from lambdad.model.function import LATEST, Function, UpdateStatus
from lambdad.model.layer import LayerRef

Params = Mapping[str, Any]
Result = dict[str, Any]

_OWN_ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


class FunctionOperations:
    """Functions, as the API shows them."""

    def __init__(
        self,
        registry: Registry,
        layers: Layers,
        packages: Packages,
        clock: Clock,
        *,
        region: str,
        account: str,
    ) -> None:
        self._registry, self._layers, self._packages = registry, layers, packages
        self._clock = clock
        self._region, self._account = region, account
        self._recorded = Recorded(registry, region=region, account=account)

    async def CreateFunction(self, params: Params, _: Call) -> Result:
        name, _qualifier = names.read(params["FunctionName"], None, region=self._region)
        _check_name(name)
        if params.get("PackageType", "Zip") != "Zip" or "ImageUri" in params["Code"]:
            raise invalid_parameter("PackageType Image is not offered by lambdad yet.")
        refuse_publish_to(params)
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
        async with (
            self._packages.stored(params["Code"]) as blob,
            self._layered(params, blob.tree) as layered,
        ):
            function = Function(
                name=name,
                code_sha256=blob.sha256_base64,
                code_bytes=blob.zip_bytes,
                tree=blob.tree,
                architecture=architecture,
                revision_id=ids.request_id(),
                last_modified=self._clock.now(),
                tags=dict(params.get("Tags", {})),
                **(defaults | fields | layered),
            )
            await self._registry.create(function)
            if params.get("Publish"):
                function = await self._registry.publish(function)
        return self._recorded.shown(function)

    async def GetFunction(self, params: Params, call: Call) -> Result:
        function, qualifier = self._recorded.find(params)
        latest = self._registry.find(function.name) or function
        answer: Result = {
            "Configuration": self._recorded.shown(function, qualifier),
            "Code": {
                "RepositoryType": "S3",
                "Location": call.endpoint + call.code_path(function.tree),
            },
        }
        if latest.tags:
            answer["Tags"] = dict(latest.tags)
        reserved = self._registry.reserved(function.name)
        if reserved is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": reserved}
        return answer

    async def GetFunctionConfiguration(self, params: Params, _: Call) -> Result:
        return self._recorded.shown(*self._recorded.find(params))

    async def ListFunctions(self, params: Params, _: Call) -> Result:
        """In order of names; all versions of a function follow its ``$LATEST``, if asked for."""
        functions = self._registry.all()
        if params.get("FunctionVersion") != "ALL":
            shown, marker = page(params, functions, in_order)
            return {"Functions": [self._recorded.listed(function) for function in shown], **marker}
        versions = [one for function in functions for one in self._registry.versions(function.name)]
        shown, marker = page(params, versions, in_order)
        listed = [self._recorded.listed(version, version.version) for version in shown]
        return {"Functions": listed, **marker}

    async def UpdateFunctionCode(self, params: Params, _: Call) -> Result:
        function = self._recorded.for_update(params)
        if "ImageUri" in params:
            raise invalid_parameter(
                "Please don't provide ImageUri when updating a function with packageType Zip."
            )
        refuse_publish_to(params)
        architecture = _architecture(params) or function.architecture
        async with self._packages.stored(params) as blob:
            await self._packages.check_total(blob.tree, function.layers)
            new = self._changed(
                function,
                code_sha256=blob.sha256_base64,
                code_bytes=blob.zip_bytes,
                tree=blob.tree,
                architecture=architecture,
            )
            if params.get("DryRun"):
                return self._recorded.shown(new)
            await self._registry.change(function, new)
            if not params.get("Publish"):
                return self._recorded.shown(new)
            version = await self._registry.publish(new)
            return self._recorded.shown(version, version.version)

    async def UpdateFunctionConfiguration(self, params: Params, _: Call) -> Result:
        function = self._recorded.for_update(params)
        with self._packages.held(function.tree):  # Its code may be replaced meanwhile.
            fields = await asyncio.to_thread(configuration.changes, params, function)
            async with self._layered(params, function.tree) as layered:
                new = self._changed(function, **fields, **layered)
                await self._registry.change(function, new)
                return self._recorded.shown(new)

    async def DeleteFunction(self, params: Params, _: Call) -> Result:
        name, qualifier = self._recorded.named(params)
        if self._registry.find(name) is None:
            raise self._recorded.not_found(name)
        if qualifier is None:
            await self._registry.delete(name)
        else:
            async with self._registry.changing:
                await self._delete_version(name, qualifier)
        return {"StatusCode": 204}

    # --- parts ------------------------------------------------------------------------

    async def _delete_version(self, name: str, qualifier: str) -> None:
        """Delete what a qualifier names, if it is a number."""
        if qualifier == LATEST:
            raise invalid_parameter(
                "$LATEST version cannot be deleted without deleting the function."
            )
        if "$" in qualifier:
            raise self._recorded.not_found(name)
        if not qualifier.isdecimal():
            raise invalid_parameter("Deletion of aliases is not currently supported.")
        aliases = ", ".join(alias.name for alias in self._registry.aliases.by(name, qualifier))
        if aliases:
            raise conflict(
                f"Unable to delete version because the following aliases reference it: [{aliases}]"
            )
        if not await self._registry.delete_version(name, qualifier):
            raise self._recorded.not_found(name, qualifier)

    def _changed(self, function: Function, **fields: object) -> Function:
        return function.changed(
            revision_id=ids.request_id(),
            last_modified=self._clock.now(),
            update_status=UpdateStatus.IN_PROGRESS,
            **fields,
        )

    @asynccontextmanager
    async def _layered(self, params: Params, code: str) -> AsyncIterator[dict[str, Any]]:
        """What a request sets of layers, as fields of ``Function``; their tree is held meanwhile.

        Raises:
            ApiError: there are not such layers, or they are too large beside the tree of the code.
        """
        if "Layers" not in params:
            yield {}
            return
        place = {"region": self._region, "account": self._account}
        found = layers.named(self._layers, params["Layers"], **place)
        async with self._packages.merged(found, code) as tree:
            references = tuple(
                LayerRef(
                    layer_arn(**place, name=layer.name, version=layer.version),
                    layer.code_bytes,
                    layer.unzipped_bytes,
                )
                for layer in found
            )
            yield {"layers": references, "layers_tree": tree}


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


def table(operations: object) -> dict[str, Callable[..., Any]]:
    """The operations that an object offers: its public methods, named as in the model."""
    return {
        name: getattr(operations, name)
        for name in dir(operations)
        if name[:1].isupper() and callable(getattr(operations, name))
    }
