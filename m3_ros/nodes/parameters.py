"""ROS parameters from one frozen dataclass: default, type, range, and the docstring under each field as description.

A range is written as everywhere in this package: `Annotated[float, "0..1"]`, `Annotated[int, "1.."]`.
"""

import ast
import inspect
import textwrap
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter


@dataclass(frozen=True)
class Live:
    """Marks a parameter that may be changed while the node runs; all others are read once at the start."""


S = TypeVar("S")
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1


class Parameters(Generic[S]):
    """The parameters of a node, declared from a settings dataclass."""

    def __init__(self, node: Node, settings: type[S]) -> None:
        self._node = node
        self._settings = settings
        self._names = [field.name for field in fields(settings)]  # type: ignore[arg-type]
        hints = get_type_hints(settings, include_extras=True)
        docs = field_docs(settings)
        defaults = settings()
        for name in self._names:
            descriptor = _descriptor(hints[name], docs.get(name, ""))
            node.declare_parameter(name, _to_ros(getattr(defaults, name)), descriptor)

    @property
    def current(self) -> S:
        """Return the values as they are now."""
        return self._settings(**{name: self._value(name) for name in self._names})

    def _value(self, name: str) -> Any:
        value = self._node.get_parameter(name).value
        return tuple(value) if isinstance(value, list) else value


def field_docs(cls: type) -> dict[str, str]:
    """Return the docstring that stands under each field of a class."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    docs: dict[str, str] = {}
    statements = getattr(body, "body", [])
    for statement, following in pairwise(statements):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            docs[statement.target.id] = " ".join(str(following.value.value).split())
    return docs


def _descriptor(hint: Any, description: str) -> ParameterDescriptor:
    kind, marks = (get_args(hint)[0], get_args(hint)[1:]) if hasattr(hint, "__metadata__") else (hint, ())
    descriptor = ParameterDescriptor(description=description, read_only=not any(isinstance(m, Live) for m in marks))
    descriptor.type = _ros_type(kind).value
    for text in (mark for mark in marks if isinstance(mark, str)):
        low, _, high = text.partition("..")
        if kind is int:
            descriptor.integer_range = [IntegerRange(from_value=int(low or _INT_MIN), to_value=int(high or _INT_MAX))]
        else:
            ends = float(low or "-inf"), float(high or "inf")
            descriptor.floating_point_range = [FloatingPointRange(from_value=ends[0], to_value=ends[1])]
    return descriptor


def _ros_type(kind: Any) -> Parameter.Type:
    if get_origin(kind) is tuple:
        return Parameter.Type.STRING_ARRAY
    types = {
        bool: Parameter.Type.BOOL,
        int: Parameter.Type.INTEGER,
        float: Parameter.Type.DOUBLE,
        str: Parameter.Type.STRING,
    }
    return types[kind]


def _to_ros(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
