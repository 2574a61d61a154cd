"""The messages of ``orders.proto``, made from the descriptors that ``make protos`` has compiled.

This is not protoc's own Python output, which runs only with versions of protobuf and grpcio next to
those that it was made with. Its types for type checkers, ``orders_pb2.pyi``, are.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

PROTO = "gristmill_orders/api/orders.proto"
SERVICE = "gristmill.orders.v1.Orders"

_pool = descriptor_pool.Default()
_compiled = files("gristmill_orders.api").joinpath("orders.binpb").read_bytes()
for _file in FileDescriptorSet.FromString(_compiled).file:
    _pool.AddSerializedFile(_file.SerializeToString())

DESCRIPTOR = _pool.FindFileByName(PROTO)
_made: dict[str, Any] = {
    name: message_factory.GetMessageClass(kind)
    for name, kind in DESCRIPTOR.message_types_by_name.items()
}
_made["OrderState"] = EnumTypeWrapper(DESCRIPTOR.enum_types_by_name["OrderState"])
globals().update(_made)
