"""The operations on log groups.

Retention is kept: what is older is not shown, and goes when its segment makes way.
Source: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/.
"""

from __future__ import annotations

from lambdad.api.logs.place import (
    Params,
    Place,
    Result,
    exists_already,
    invalid,
    named,
    no_group,
    page,
)
from lambdad.model import limits
from lambdad.model.errors import ApiError
from lambdad.observe.log_group import Group

_RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
)  # fmt: skip


class GroupOperations:
    """Operations, named as in the service model."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def DescribeLogGroups(self, params: Params) -> Result:
        prefix, part = params.get("logGroupNamePrefix", ""), params.get("logGroupNamePattern", "")
        if prefix and part:
            raise invalid("LogGroup name prefix and LogGroup name pattern are mutually exclusive.")
        wanted = {named(one) for one in params.get("logGroupIdentifiers", ())}
        found = [
            group
            for group in self._place.store.groups()
            if group.facts.name.startswith(prefix)
            and part in group.facts.name
            and (not wanted or group.facts.name in wanted)
        ]
        shown, token = page(found, lambda group: (0, group.facts.name), params)
        return {"logGroups": [self._shown(group) for group in shown], **token}

    async def CreateLogGroup(self, params: Params) -> Result:
        if "kmsKeyId" in params:
            raise invalid("kmsKeyId is not offered by lambdad.")
        if self._place.store.group(params["logGroupName"]) is not None:
            raise exists_already("log group")
        if len(self._place.store.groups()) >= limits.log_groups_max:
            raise ApiError("LimitExceededException", "Resource limit exceeded.")
        self._place.store.create(params["logGroupName"], params.get("tags"))
        return {}

    async def DeleteLogGroup(self, params: Params) -> Result:
        self._place.store.delete(self._place.group(params).facts.name)
        return {}

    async def PutRetentionPolicy(self, params: Params) -> Result:
        days = params["retentionInDays"]
        if days not in _RETENTION_DAYS:
            raise invalid(
                f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to "
                "satisfy constraint: Member must satisfy enum value set: "
                f"[{', '.join(map(str, _RETENTION_DAYS))}]"
            )
        self._place.group(params).change(retention_days=days)
        return {}

    async def DeleteRetentionPolicy(self, params: Params) -> Result:
        self._place.group(params).change(retention_days=None)
        return {}

    # --- tags -------------------------------------------------------------------------

    async def ListTagsForResource(self, params: Params) -> Result:
        return {"tags": self._tagged(params).facts.tags}

    async def TagResource(self, params: Params) -> Result:
        group = self._tagged(params)
        tags = group.facts.tags | params["tags"]
        if len(tags) > limits.tags_max:
            raise ApiError("TooManyTagsException", "The resource can have no more than 50 tags.")
        group.change(tags=tags)
        return {}

    async def UntagResource(self, params: Params) -> Result:
        group, gone = self._tagged(params), set(params["tagKeys"])
        group.change(tags={key: tag for key, tag in group.facts.tags.items() if key not in gone})
        return {}

    def _tagged(self, params: Params) -> Group:
        group = self._place.store.group(named(params["resourceArn"]))
        if group is None:
            raise no_group()
        return group

    def _shown(self, group: Group) -> Result:
        arn = self._place.group_arn(group.facts.name)
        return {
            "logGroupName": group.facts.name,
            "creationTime": group.facts.created_ms,
            "retentionInDays": group.facts.retention_days,
            "metricFilterCount": 0,
            "arn": f"{arn}:*",
            "logGroupArn": arn,
            "logGroupClass": "STANDARD",
            "storedBytes": group.stored_bytes,
        }
