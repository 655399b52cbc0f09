"""Aliases, as AWS's client has them."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from botocore.exceptions import ClientError
from scenario.package import zipped

pytestmark = [pytest.mark.root, pytest.mark.cgroup]


def saying(word):
    return f"""
        def handler(event, context):
            print("event", {word!r}, event)
            arn = context.invoked_function_arn.rpartition("function:")[2]
            return [{word!r}, arn, context.function_version]
    """


def publish(daemon, name, word):
    """The next version, which says this."""
    daemon.client.update_function_code(FunctionName=name, ZipFile=zipped(saying(word)))
    daemon.wait("function_updated_v2", name)
    return daemon.client.publish_version(FunctionName=name)["Version"]


@pytest.fixture
def published(daemon, deploy):
    """A function with two versions: ``first`` and ``second``."""
    name = deploy(saying("first"))
    assert daemon.client.publish_version(FunctionName=name)["Version"] == "1"
    assert publish(daemon, name, "second") == "2"
    return name


def create(daemon, name, alias="live", version="1", **more):
    asked = {"FunctionName": name, "Name": alias, "FunctionVersion": version}
    return daemon.client.create_alias(**asked, **more)


def invoked(daemon, name, **more):
    answer = daemon.client.invoke(FunctionName=name, **more)
    return answer.get("ExecutedVersion"), json.loads(answer["Payload"].read())


def refusal(call, **asked):
    """Status, code and text of what is refused."""
    with pytest.raises(ClientError) as caught:
        call(**asked)
    answer = caught.value.response
    status, error = answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]
    return status, error["Code"], error["Message"]


def test_an_alias_runs_the_version_it_points_to_and_follows_when_it_moves(daemon, published):
    name = published
    created = create(daemon, name, Description="d")
    assert created["AliasArn"].endswith(f":function:{name}:live")
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    first = ("1", ["first", f"{name}:live", "1"])
    assert invoked(daemon, name, Qualifier="live") == first
    assert invoked(daemon, f"{name}:live") == first
    assert invoked(daemon, created["AliasArn"]) == first

    moved = daemon.client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert (moved["FunctionVersion"], moved["Description"]) == ("2", "d")
    assert invoked(daemon, f"{name}:live") == ("2", ["second", f"{name}:live", "2"])
    shown = daemon.client.get_function_configuration(FunctionName=name, Qualifier="live")
    assert (shown["Version"], shown["FunctionArn"]) == ("2", created["AliasArn"])

    daemon.client.delete_alias(FunctionName=name, Name="live")
    assert refusal(daemon.client.invoke, FunctionName=name, Qualifier="live") == (
        404, "ResourceNotFoundException", f"Function not found: {created['AliasArn']}"
    )  # fmt: skip


def test_another_version_gets_its_share(daemon, published):
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    create(daemon, published, RoutingConfig=routing)
    ran = Counter(invoked(daemon, published, Qualifier="live")[0] for _ in range(64))
    assert set(ran) == {"1", "2"}
    for weight, version in ((1.0, "2"), (0.0, "1")):
        routing = {"AdditionalVersionWeights": {"2": weight}}
        asked = {"FunctionName": published, "Name": "live", "RoutingConfig": routing}
        assert daemon.client.update_alias(**asked)["RoutingConfig"] == routing
        assert {invoked(daemon, published, Qualifier="live")[0] for _ in range(4)} == {version}


def test_an_alias_may_follow_latest(daemon, published):
    create(daemon, published, "newest", "$LATEST")
    answer = invoked(daemon, f"{published}:newest")
    assert answer == ("$LATEST", ["second", f"{published}:newest", "$LATEST"])


def test_an_event_by_an_alias_is_run(daemon, published):
    create(daemon, published)
    answer = daemon.client.invoke(
        FunctionName=f"{published}:live", InvocationType="Event", Payload=b'"by alias"'
    )
    assert (answer["StatusCode"], "ExecutedVersion" in answer) == (202, False)
    daemon.wait_for_log(published, "event first by alias")


def test_aliases_are_listed_and_paginated(daemon, published):
    for alias, version in (("b", "1"), ("a", "2"), ("c", "1")):
        create(daemon, published, alias, version)
    pages = daemon.client.get_paginator("list_aliases")
    found = pages.paginate(FunctionName=published, PaginationConfig={"PageSize": 2})
    assert [one["Name"] for page in found for one in page["Aliases"]] == ["a", "b", "c"]
    of_first = daemon.client.list_aliases(FunctionName=published, FunctionVersion="1")
    assert [one["Name"] for one in of_first["Aliases"]] == ["b", "c"]


def test_a_version_stays_for_as_long_as_an_alias_invokes_it(daemon, published):
    create(daemon, published)
    assert refusal(daemon.client.delete_function, FunctionName=published, Qualifier="1") == (
        409,
        "ResourceConflictException",
        "Unable to delete version because the following aliases reference it: [live]",
    )
    daemon.client.delete_alias(FunctionName=published, Name="live")
    daemon.client.delete_function(FunctionName=published, Qualifier="1")


def test_aliases_are_there_after_a_restart(start):
    daemon = start()
    name = daemon.deploy(saying("first"), Publish=True)
    created = create(daemon, name, Description="d", version="1")
    daemon.stop()
    daemon = start()
    shown = daemon.client.get_alias(FunctionName=name, Name="live")
    del created["ResponseMetadata"], shown["ResponseMetadata"]
    assert shown == created
    assert invoked(daemon, f"{name}:live") == ("1", ["first", f"{name}:live", "1"])


FAILED = "failed to satisfy constraint:"
WEIGHTS = f"at 'routingConfig.additionalVersionWeights' {FAILED} Map"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"Name": "2024"},
            (
                f"Value '2024' at 'name' {FAILED} Member must satisfy regular expression pattern: "
                "(?!^[0-9]+$)([a-zA-Z0-9-_]+)"
            ),
        ),
        (
            {"RoutingConfig": {"AdditionalVersionWeights": {"2": 2.0}}},
            (
                f"Value '{{2=2.0}}' {WEIGHTS} value must satisfy constraint: ["
                "Member must have value less than or equal to 1.0, "
                "Member must have value greater than or equal to 0.0, Member must not be null]"
            ),
        ),
        (
            {"RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.5}}},
            (
                f"Value '{{$LATEST=0.5}}' {WEIGHTS} keys must satisfy constraint: ["
                "Member must have length less than or equal to 1024, "
                "Member must have length greater than or equal to 1, "
                "Member must satisfy regular expression pattern: [0-9]+]"
            ),
        ),
    ],
)
def test_what_makes_no_alias_is_refused_in_the_services_words(daemon, published, asked, said):
    asked = {"FunctionName": published, "Name": "live", "FunctionVersion": "1", **asked}
    assert refusal(daemon.client.create_alias, **asked) == (
        400, "ValidationException", f"1 validation error detected: {said}"
    )  # fmt: skip


def test_a_name_is_taken_once_and_what_is_missing_is_named(daemon, published):
    arn = create(daemon, published)["AliasArn"]
    live = {"FunctionName": published, "Name": "live"}
    gone = {"FunctionName": published, "Name": "gone"}
    missing = "ResourceNotFoundException"
    client = daemon.client
    assert refusal(client.create_alias, FunctionVersion="2", **live) == (
        409, "ResourceConflictException", f"Alias already exists: {arn}"
    )  # fmt: skip
    not_there = arn.replace(":live", ":gone")
    assert refusal(client.get_alias, **gone) == (
        404, missing, f"Cannot find alias arn: {not_there}"
    )  # fmt: skip
    assert refusal(client.update_alias, **gone) == (
        404, missing, f"Alias not found: {not_there}"
    )  # fmt: skip
    no_version = arn.replace(":live", ":10")
    assert refusal(client.update_alias, FunctionVersion="10", **live) == (
        404, missing, f"Function not found: {no_version}"
    )  # fmt: skip
    status, code, _ = refusal(client.update_alias, RevisionId="another", **live)
    assert (status, code) == (412, "PreconditionFailedException")
    assert client.delete_alias(**gone)["ResponseMetadata"]["HTTPStatusCode"] == 204
