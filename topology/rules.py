"""The second half of the fabric file: what may pass, what is proved, shared, copied, limited and measured."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StrictStr,
    Tag,
    model_validator,
)

from weft.topology import scalars as s


class Strict(BaseModel):
    """A map whose keys are known and whose contents never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def nothing_as_empty(given: Any) -> Any:
    """``kvm1:`` with nothing behind it, for what needs no key."""
    return {} if given is None else given


def key(alias: str, **more: Any) -> Any:
    """A field whose key in the file is a word of Python."""
    return Field(validation_alias=alias, **more)


def map_or_word(given: Any) -> str:
    return "=map" if isinstance(given, dict) else "=word"


Labels = dict[StrictStr, StrictStr]
Who = Annotated[Annotated[StrictStr, Tag("=word")] | Annotated[Labels, Tag("=map")], Discriminator(map_or_word)]
"""``any``, ``outside``, ``host``, a guest, an endpoint, a segment, a CIDR, or the labels of guests."""


class Forward(Strict):
    """Port forwarding: `listen` on the host's uplink address, to `port` (default: the same) of an endpoint."""

    listen: s.Listen
    to: StrictStr
    port: s.PortNumber | None = None


class Route(Strict):
    to: s.AnyNetwork
    via: s.Ip


class Policy(Strict):
    name: s.Name
    allow: s.Service | None = None
    deny: s.Service | None = None
    audit: s.Service | None = None
    source: Who = key("from")
    to: Who
    until: s.Moment | None = None

    @model_validator(mode="after")
    def decides_one_thing(self) -> "Policy":
        if sum(verdict is not None for verdict in (self.allow, self.deny, self.audit)) != 1:
            raise ValueError("needs one of allow, deny and audit")
        return self


class Flow(Strict):
    source: Who = key("from")
    to: Who
    service: s.Service | None = key("with", default=None)


class Invariant(Strict):
    never: Flow | None = None
    always: Flow | None = None

    @model_validator(mode="after")
    def says_one_thing(self) -> "Invariant":
        if (self.never is None) == (self.always is None):
            raise ValueError("needs one of never and always")
        return self

    @property
    def flow(self) -> Flow:
        return self.never or self.always  # type: ignore[return-value]  # one of them is there


class VirtualService(Strict):
    """An address and port that is shared among guests: `listen` on it is handed on to `port` (default: the same) of one of them."""

    name: s.Name
    segment: StrictStr | None = None
    address: s.Ip | None = None
    listen: s.Listen
    port: s.PortNumber | None = None
    to: Who
    sticky: Literal["client"] | None = None

    @model_validator(mode="after")
    def is_somewhere(self) -> "VirtualService":
        if self.segment is None and self.address is None:
            raise ValueError("needs one of segment and address")
        return self


class Mirror(Strict):
    name: s.Name
    source: StrictStr = key("from")
    to: StrictStr | None = None
    vlan: s.Vlan | None = None

    @model_validator(mode="after")
    def ends_somewhere(self) -> "Mirror":
        if (self.to is None) == (self.vlan is None):
            raise ValueError("needs one of to and vlan")
        return self


class Qos(Strict):
    """`direction` as the guest sees it: ``out`` is what it sends."""

    endpoint: StrictStr
    direction: Literal["in", "out"]
    rate: s.Rate | None = None
    burst: s.Rate | None = None
    dscp: s.Dscp | None = None


class Monitor(Strict):
    sflow: s.Collector | None = None
    netflow: s.Collector | None = None
    ipfix: s.Collector | None = None
    sampling: s.Sampling | None = None

    @model_validator(mode="after")
    def goes_somewhere(self) -> "Monitor":
        if not (self.sflow or self.netflow or self.ipfix):
            raise ValueError("needs one of sflow, netflow and ipfix")
        return self


class Switch(Strict):
    """An OpenFlow switch between hosts; without `dpid` it is known by what it announces."""

    dpid: s.Dpid | None = None

    _empty = model_validator(mode="before")(nothing_as_empty)


def _ends(given: Any) -> tuple[str, str]:
    if not isinstance(given, list) or len(given) != 2 or not all(isinstance(end, str) and _is_end(end) for end in given):
        raise ValueError("is not two ports as [kvm1/ens224, leaf1/1]")
    return given[0], given[1]


def _is_end(text: str) -> bool:
    node, slash, port = text.partition("/")
    return bool(node and slash and port)


Link = Annotated[tuple[str, str], PlainValidator(_ends)]
"""Two ports, each as host/NIC or switch/number."""
