"""PublishLayerVersion, GetLayerVersion, GetLayerVersionByArn, ListLayerVersions, ListLayers,
DeleteLayerVersion; and from the ``Layers`` of a function to layer versions.

Source: lambda-api section 14, which records the service's answers and texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lambdad.api.call import Call
from lambdad.api.operations.packages import Packages
from lambdad.api.operations.pages import page
from lambdad.code.layers import Layers
from lambdad.model import arn, limits
from lambdad.model.arn import LayerName
from lambdad.model.clock import Clock, last_modified
from lambdad.model.errors import ApiError, invalid_parameter, not_found
from lambdad.model.layer import LayerVersion

Params = Mapping[str, Any]
Result = dict[str, Any]

_NUMBER_MAX = 10**18  # more than there will ever be: newest first is a matter of subtraction


class LayerOperations:
    """Layers, as the API shows them.

    Args:
        layers: those that there are.
        packages: takes the zips.
        forget: lets a tree go, unless it is in use.
        clock: says when a version was published.
    """

    def __init__(
        self,
        layers: Layers,
        packages: Packages,
        forget: Callable[[str], None],
        clock: Clock,
        *,
        region: str,
        account: str,
    ) -> None:
        self._layers, self._packages, self._forget = layers, packages, forget
        self._clock = clock
        self._region, self._account = region, account

    async def PublishLayerVersion(self, params: Params, call: Call) -> Result:
        name = self._own(params["LayerName"]).name
        async with self._packages.stored(params["Content"]) as blob:
            layer = LayerVersion(
                name=name,
                version=0,  # It is numbered when it is recorded.
                code_sha256=blob.sha256_base64,
                code_bytes=blob.zip_bytes,
                tree=blob.tree,
                unzipped_bytes=await self._packages.unzipped_bytes(blob.tree),
                created=self._clock.now(),
                description=params.get("Description", ""),
                license_info=params.get("LicenseInfo"),
                compatible_runtimes=_tuple(params.get("CompatibleRuntimes")),
                compatible_architectures=_tuple(params.get("CompatibleArchitectures")),
            )
            return self._whole(await self._layers.publish(layer), call)

    async def GetLayerVersion(self, params: Params, call: Call) -> Result:
        name, number = self._own(params["LayerName"]), _number(params)
        return self._whole(self._find(name.name, number), call)

    async def GetLayerVersionByArn(self, params: Params, call: Call) -> Result:
        asked = arn.parse_layer(params["Arn"])
        if asked is None or asked.version is None or not self._is_own(asked):
            raise _no_resource()
        return self._whole(self._find(asked.name, asked.version), call)

    async def ListLayerVersions(self, params: Params, _: Call) -> Result:
        found = self._matching(self._own(params["LayerName"]).name, params)
        shown, marker = page(params, found, _newest_first)
        return {"LayerVersions": [self._item(layer) for layer in shown], **marker}

    async def ListLayers(self, params: Params, _: Call) -> Result:
        found = {name: self._matching(name, params) for name in self._layers.names()}
        shown, marker = page(params, (name for name in found if found[name]), str)
        layers = [
            {
                "LayerName": name,
                "LayerArn": self._arn(name),
                "LatestMatchingVersion": self._item(found[name][0]),
            }
            for name in shown
        ]
        return {"Layers": layers, **marker}

    async def DeleteLayerVersion(self, params: Params, _: Call) -> Result:
        name, number = self._own(params["LayerName"]), _number(params)
        gone = await self._layers.delete(name.name, number)
        if gone is not None:
            self._forget(gone.tree)
        return {}

    # --- parts ------------------------------------------------------------------------

    def _own(self, spelling: str) -> LayerName:
        """The layer that a client names, if it could be one of ours.

        Raises:
            ApiError: it is of another region or account.
        """
        name = arn.parse_layer(spelling)
        if name is None or not self._is_own(name):
            raise _no_resource()
        return name

    def _is_own(self, name: LayerName) -> bool:
        return name.region in (None, self._region) and name.account in (None, self._account)

    def _find(self, name: str, number: int) -> LayerVersion:
        layer = self._layers.find(name, number)
        if layer is None:
            raise _no_resource()
        return layer

    def _matching(self, name: str, params: Params) -> list[LayerVersion]:
        """The versions that say they are compatible with what is asked for, the newest first."""
        runtime = params.get("CompatibleRuntime")
        architecture = params.get("CompatibleArchitecture")
        return [
            layer
            for layer in self._layers.versions(name)
            if runtime in (None, *(layer.compatible_runtimes or ()))
            and architecture in (None, *(layer.compatible_architectures or ()))
        ]

    def _whole(self, layer: LayerVersion, call: Call) -> Result:
        content = {
            "CodeSha256": layer.code_sha256,
            "CodeSize": layer.code_bytes,
            "Location": call.endpoint + call.code_path(layer.tree),
        }
        return self._item(layer) | {"LayerArn": self._arn(layer.name), "Content": content}

    def _item(self, layer: LayerVersion) -> Result:
        shown = {
            "LayerVersionArn": self._arn(layer.name, layer.version),
            "Version": layer.version,
            "Description": layer.description,
            "CreatedDate": last_modified(layer.created),
            "LicenseInfo": layer.license_info,
            "CompatibleRuntimes": _list(layer.compatible_runtimes),
            "CompatibleArchitectures": _list(layer.compatible_architectures),
        }
        return {name: value for name, value in shown.items() if value is not None}

    def _arn(self, name: str, version: int | None = None) -> str:
        return arn.layer_arn(self._region, self._account, name, version)


def named(layers: Layers, arns: Sequence[str], *, region: str, account: str) -> list[LayerVersion]:
    """The layer versions that a function asks for, in its order.

    Raises:
        ApiError: too many, two of one layer, of another region, or one that there is not.
    """
    if len(arns) > limits.layers_max:
        raise invalid_parameter(f"Cannot reference more than {limits.layers_max} layers.")
    names = [arn.parse_layer(asked) for asked in arns]
    _refuse_twice(arns, names)
    found = []
    for asked, name in zip(arns, names, strict=True):
        if name is not None and name.region != region:
            raise invalid_parameter(
                "Layers are not in the same region as the function. "
                f"Layers are expected to be in region {region}."
            )
        layer = None
        if name is not None and name.version is not None and name.account == account:
            layer = layers.find(name.name, name.version)
        if layer is None:
            raise invalid_parameter(f"Layer version {asked} does not exist.")
        found.append(layer)
    return found


def _refuse_twice(arns: Sequence[str], names: Sequence[LayerName | None]) -> None:
    """Refuse two versions of one layer, be they the same one."""
    seen: dict[tuple[str | None, str | None, str], str] = {}
    for asked, name in zip(arns, names, strict=True):
        if name is None:
            continue
        layer = (name.region, name.account, name.name)
        if layer in seen:
            raise invalid_parameter(
                "Two different versions of the same layer are not allowed to be referenced in "
                f"the same function. {seen[layer]} and {asked} are versions of the same layer."
            )
        seen[layer] = asked


def _number(params: Params) -> int:
    number: int = params["VersionNumber"]
    if number < 1:
        raise invalid_parameter("Layer Version Cannot be less than 1")
    return number


def _newest_first(layer: LayerVersion) -> str:
    return f"{_NUMBER_MAX - layer.version:019d}"


def _tuple(given: list[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(given)


def _list(kept: tuple[str, ...] | None) -> list[str] | None:
    return None if kept is None else list(kept)


def _no_resource() -> ApiError:
    return not_found("The resource you requested does not exist.")
