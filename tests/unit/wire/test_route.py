import pytest

from lambdad.api.wire import route
from lambdad.api.wire.model import read


@pytest.fixture(scope="module")
def match(model):
    return route.Router(model).match


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/2015-03-31/functions", "CreateFunction"),
        ("GET", "/2015-03-31/functions", "ListFunctions"),
        ("GET", "/2015-03-31/functions/fn", "GetFunction"),
        ("DELETE", "/2015-03-31/functions/fn", "DeleteFunction"),
        ("POST", "/2015-03-31/functions/fn/invocations", "Invoke"),
        (
            "GET",
            "/2019-09-25/functions/fn/event-invoke-config/list",
            "ListFunctionEventInvokeConfigs",
        ),
    ],
)
def test_method_and_path_name_an_operation(match, method, path, operation):
    assert match(method, path, ()).operation.name == operation


@pytest.mark.parametrize("path", ["/2015-03-31/functions/", "/2015-03-31/event-source-mappings/"])
def test_a_trailing_slash_is_allowed(match, path):
    assert match("GET", path, ()) == match("GET", path[:-1], ())


@pytest.mark.parametrize(
    ("query", "operation"),
    [
        ([], "ListLayers"),
        ([("CompatibleRuntime", "python3.12")], "ListLayers"),
        ([("find", "Layer")], "ListLayers"),
        ([("find", "LayerVersion"), ("Arn", "a")], "GetLayerVersionByArn"),
        ([("Arn", "a"), ("find", "LayerVersion")], "GetLayerVersionByArn"),
    ],
)
def test_the_constant_query_is_part_of_the_route(match, query, operation):
    assert match("GET", "/2018-10-31/layers", query).operation.name == operation


def test_list_all_tells_provisioned_concurrency_configs_apart(match):
    path = "/2019-09-30/functions/fn/provisioned-concurrency"
    assert match("GET", path, [("List", "ALL")]).operation.name.startswith("List")
    assert match("GET", path, [("Qualifier", "1")]).operation.name.startswith("Get")


@pytest.mark.parametrize(
    ("segment", "label"),
    [
        ("fn", "fn"),
        ("fn:live", "fn:live"),
        ("fn%3A%24LATEST", "fn:$LATEST"),
        (
            "arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Afn",
            "arn:aws:lambda:eu-west-1:123456789012:function:fn",
        ),
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a+b", "a+b"),
        ("%C3%BC", "ü"),
        ("invocations", "invocations"),
        (".", "."),
    ],
)
def test_a_label_is_decoded_once_and_after_the_match(match, segment, label):
    found = match("GET", f"/2015-03-31/functions/{segment}/versions", ())
    assert found.operation.name == "ListVersionsByFunction"
    assert found.labels == {"FunctionName": label}


def test_several_labels_come_under_their_own_names(match):
    found = match("DELETE", "/2015-03-31/functions/fn/policy/%2F", ())
    assert found.labels == {"FunctionName": "fn", "StatementId": "/"}


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//",
        "fn",
        "/2015-03-31",
        "/2015-03-32/functions",
        "/2015-03-31/Functions",
        "/2015-03-31/functions//",
        "/2015-03-31/functions//invocations",
        "//2015-03-31/functions",
        "/2015-03-31/functions/a/b/c/d",
        "/2015-03-31%2Ffunctions",
        "/2015-03-31/functions/../functions",
    ],
)
def test_an_unknown_path_is_no_operation(match, path):
    with pytest.raises(route.UnknownOperation, match="cannot find"):
        match("GET", path, ())


def test_a_known_path_under_another_method_names_the_methods(match):
    with pytest.raises(route.MethodNotAllowed) as caught:
        match("PATCH", "/2015-03-31/functions/fn", ())
    assert caught.value.allowed == ("DELETE", "GET")


def test_a_route_that_needs_a_query_is_not_found_without():
    uri = "/things?find=One"
    operation = {"name": "FindOne", "http": {"method": "GET", "requestUri": uri}}
    router = route.Router(read({"operations": {"FindOne": operation}, "shapes": {}}))
    assert router.match("GET", "/things", [("find", "One")]).operation.name == "FindOne"
    with pytest.raises(route.UnknownOperation, match="with this query"):
        router.match("GET", "/things", [])
