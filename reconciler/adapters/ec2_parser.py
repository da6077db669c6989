"""DescribeInstances answers: read lean from the wire, and made into `Instance` values.

Parsing is 99 % of the client's time for a large fleet. botocore builds a tree of every element and walks it by its
model; here expat reads only the members in `WANTED` and skips the rest. Names and types come from botocore's own
model, so there is one source for them. Every other answer, errors included, is botocore's business.
See docs/decisions/0003-lean-describe-instances.md for figures.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from xml.parsers import expat

from botocore.parsers import EC2QueryParser, ResponseParser, ResponseParserError, ResponseParserFactory

from reconciler.errors import Transient
from reconciler.model.names import ImageId, InstanceId
from reconciler.model.observed import Instance, InstanceState

if TYPE_CHECKING:
    from botocore.model import Shape

# Members of the answer, as botocore names them; None: a scalar. A list has the members of its elements.
Wanted: TypeAlias = Mapping[str, "Wanted | None"]
WANTED: Final[Wanted] = {
    "NextToken": None,
    "Reservations": {
        "Instances": {
            "InstanceId": None,
            "ImageId": None,
            "InstanceType": None,
            "LaunchTime": None,
            "PrivateIpAddress": None,
            "SubnetId": None,
            "State": {"Name": None},
            "IamInstanceProfile": {"Arn": None},
            "SecurityGroups": {"GroupId": None},
            "Tags": {"Key": None, "Value": None},
        }
    },
}
_ANSWER = "DescribeInstancesResponse"


def read_instances(page: Mapping[str, Any]) -> list[Instance]:
    """The instances of one parsed page.

    Raises:
        Transient: it is no such page, or one of its instances lacks what every instance has. Nothing may be
            concluded from it.
    """
    if "Reservations" not in page:  # a stranger's answer parses as an empty one
        raise Transient("EC2 DescribeInstances: the answer has no reservationSet")
    return [_read_instance(raw) for reservation in page["Reservations"] for raw in reservation.get("Instances", ())]


def _read_instance(raw: Mapping[str, Any]) -> Instance:
    profile = raw.get("IamInstanceProfile", {}).get("Arn")
    try:
        return Instance(
            instance_id=InstanceId(raw["InstanceId"]),
            state=InstanceState(raw["State"]["Name"]),
            image=ImageId(raw["ImageId"]),
            instance_type=raw["InstanceType"],
            subnet=raw.get("SubnetId") or None,
            security_groups=frozenset(group["GroupId"] for group in raw.get("SecurityGroups", ())),
            instance_profile=profile.rpartition("/")[2] if profile else None,
            private_address=raw.get("PrivateIpAddress") or None,
            launched_at=raw["LaunchTime"].astimezone(UTC),
            tags=MappingProxyType({tag["Key"]: tag.get("Value", "") for tag in raw.get("Tags", ())}),
        )
    except (KeyError, ValueError) as error:
        raise Transient(f"EC2 DescribeInstances: incomplete record of {raw.get('InstanceId')!r}: {error!r}") from error


class LeanParserFactory(ResponseParserFactory):
    """botocore's component `response_parser_factory`, with one parser exchanged."""

    def create_parser(self, protocol_name: str) -> ResponseParser:
        if protocol_name == "ec2":
            return LeanEc2Parser()
        parser: ResponseParser = super().create_parser(protocol_name)
        return parser


class LeanEc2Parser(EC2QueryParser):
    """botocore's parser, but for DescribeInstances only the members in `WANTED` are read."""

    def _do_parse(self, response: Mapping[str, Any], shape: "Shape") -> dict[str, Any]:
        if shape is None or shape.name != "DescribeInstancesResult":
            parsed: dict[str, Any] = super()._do_parse(response, shape)  # type: ignore[misc] # botocore-stubs leave it out
            return parsed
        page = _Reading(_compiled(shape)).read(response["body"])
        request_id = page.pop("RequestId", None)
        return page if request_id is None else page | {"ResponseMetadata": {"RequestId": request_id}}


@dataclass(frozen=True, slots=True)
class _Node:
    """What to do with one element: a structure has members by XML name, a list an element, a scalar a reader."""

    name: str
    members: Mapping[str, "_Node"] = field(default_factory=dict)
    element: "_Node | None" = None
    scalar: Callable[[str], object] | None = None


@cache
def _compiled(shape: "Shape") -> _Node:
    answer = _compile(shape, WANTED, _ANSWER)
    members = {**answer.members, "requestId": _Node("RequestId", scalar=str)}
    return _Node("", members={_ANSWER: _Node(_ANSWER, members=members)})


def _compile(shape: Any, wanted: Wanted | None, name: str) -> _Node:
    if shape.type_name == "list":
        return _Node(name, element=_compile(shape.member, wanted, ""))
    if wanted is None:
        # Interned, because most texts recur from instance to instance: a third of the memory.
        return _Node(name, scalar=_read_time if shape.type_name == "timestamp" else sys.intern)
    members = {
        shape.members[member].serialization.get("name", member): _compile(shape.members[member], below, member)
        for member, below in wanted.items()
    }
    return _Node(name, members=members)


def _read_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ResponseParserError(f"not a time: {text!r}") from error


class _Reading:
    """One answer being read. `_open` holds the elements that are open, each with the value that it fills."""

    def __init__(self, root: _Node) -> None:
        self._result: dict[str, Any] = {}
        self._open: list[tuple[_Node, Any]] = [(root, self._result)]
        self._skipped = 0  # depth below the outermost element that nobody wants
        self._text: list[str] = []
        self._expat = expat.ParserCreate()
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end

    def read(self, body: bytes) -> dict[str, Any]:
        try:
            self._expat.Parse(body, True)  # noqa: FBT003 - expat takes it by position only
        except expat.ExpatError as error:
            raise ResponseParserError(f"the answer to DescribeInstances is no XML: {error}") from error
        finally:  # else the two hold each other, and the whole answer, until the collector runs
            self._expat.StartElementHandler = self._expat.EndElementHandler = None
            self._expat.CharacterDataHandler = None
        if _ANSWER not in self._result:
            raise ResponseParserError("the answer to DescribeInstances is somebody else's")
        page: dict[str, Any] = self._result[_ANSWER]
        return page

    def _start(self, tag: str, _attributes: object) -> None:
        if self._skipped:
            self._skipped += 1
            return
        parent, filled = self._open[-1]
        node = parent.element or parent.members.get(tag)
        if node is None:
            self._skipped = 1
        elif node.scalar is not None:
            self._open.append((node, None))
            self._text.clear()
            # Set only inside scalars: else expat calls for every gap between elements.
            self._expat.CharacterDataHandler = self._text.append
        else:
            value: Any = {} if node.element is None else []
            _fill(parent, filled, node, value)
            self._open.append((node, value))

    def _end(self, _tag: str) -> None:
        if self._skipped:
            self._skipped -= 1
            return
        node, _ = self._open.pop()
        if node.scalar is not None:
            self._expat.CharacterDataHandler = None
            parent, filled = self._open[-1]
            _fill(parent, filled, node, node.scalar("".join(self._text)))


def _fill(parent: _Node, filled: Any, node: _Node, value: object) -> None:
    if parent.element is None:
        filled[node.name] = value
    else:
        filled.append(value)
