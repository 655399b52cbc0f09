import subprocess
import sys

from lambdad.api.wire import model as wire_model
from lambdad.api.wire import overrides


def shapes_below(shape, seen):
    """Every shape that a shape holds, by name."""
    if shape.name in seen:
        return seen
    seen[shape.name] = shape
    match shape:
        case wire_model.Structure():
            parts = [member.shape for member in shape.members.values()]
        case wire_model.ListOf():
            parts = [shape.element]
        case wire_model.MapOf():
            parts = [shape.key, shape.value]
        case _:
            parts = []
    for part in parts:
        shapes_below(part, seen)
    return seen


def input_shapes(model):
    seen = {}
    for operation in model.operations.values():
        shapes_below(operation.input.structure, seen)
    return seen


def test_reading_the_model_does_not_import_botocore():
    code = (
        "import sys; from lambdad.api.wire import model; model.load();"
        " sys.exit('botocore' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_an_operation_knows_where_its_members_stand(model):
    invoke = model.operations["Invoke"]
    assert (invoke.method, invoke.status) == ("POST", 200)
    assert invoke.uri == "/2015-03-31/functions/{FunctionName}/invocations"
    assert [member.name for member in invoke.input.labels] == ["FunctionName"]
    assert [member.name for member in invoke.input.query] == ["Qualifier"]
    assert "X-Amz-Log-Type" in {member.wire_name for member in invoke.input.headers}
    assert invoke.input.payload.name == "Payload"
    assert invoke.input.body == ()
    assert invoke.output.status.name == "StatusCode"


def test_an_operation_without_output_has_none(model):
    assert model.operations["DeleteAlias"].output is None


def test_an_error_knows_the_capital_of_its_message(model):
    assert model.errors["ResourceNotFoundException"].message_name == "Message"
    assert model.errors["InvalidParameterValueException"].message_name == "message"


def test_an_error_knows_whose_fault_it_is(model):
    assert model.errors["ServiceException"].fault
    assert model.errors["ServiceException"].status == 500
    assert not model.errors["TooManyRequestsException"].fault


def test_a_structure_may_hold_itself():
    document = {
        "operations": {
            "Plant": {
                "name": "Plant",
                "http": {"method": "POST", "requestUri": "/trees"},
                "input": {"shape": "Tree"},
            }
        },
        "shapes": {
            "Tree": {"type": "structure", "members": {"Branches": {"shape": "Trees"}}},
            "Trees": {"type": "list", "member": {"shape": "Tree"}},
        },
    }
    tree = wire_model.read(document).operations["Plant"].input.structure
    assert tree.members["Branches"].shape.element is tree


def test_every_override_is_of_a_shape_and_differs_from_it(model):
    shapes = input_shapes(model)
    for name, pattern in overrides.PATTERNS.items():
        assert shapes[name].pattern != pattern
    for name, enum in overrides.ENUMS.items():
        assert shapes[name].enum != enum
        assert set(shapes[name].enum) == set(enum)
    assert shapes.keys() >= overrides.SILENT_ABOUT_NULL
    for structure, member in overrides.CHECKED_ELSEWHERE:
        assert member in shapes[structure].members
