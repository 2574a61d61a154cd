from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_STATE_UNSPECIFIED: _ClassVar[OrderState]
    ORDER_STATE_PENDING: _ClassVar[OrderState]
    ORDER_STATE_PAYMENT_PROCESSING: _ClassVar[OrderState]
    ORDER_STATE_RESERVED: _ClassVar[OrderState]
    ORDER_STATE_SHIPPED: _ClassVar[OrderState]
    ORDER_STATE_COMPLETED: _ClassVar[OrderState]
    ORDER_STATE_CANCELLED: _ClassVar[OrderState]
    ORDER_STATE_FAILED: _ClassVar[OrderState]
ORDER_STATE_UNSPECIFIED: OrderState
ORDER_STATE_PENDING: OrderState
ORDER_STATE_PAYMENT_PROCESSING: OrderState
ORDER_STATE_RESERVED: OrderState
ORDER_STATE_SHIPPED: OrderState
ORDER_STATE_COMPLETED: OrderState
ORDER_STATE_CANCELLED: OrderState
ORDER_STATE_FAILED: OrderState

class Item(_message.Message):
    __slots__ = ("sku", "quantity", "unit_price_cents", "description")
    SKU_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    UNIT_PRICE_CENTS_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    sku: str
    quantity: int
    unit_price_cents: int
    description: str
    def __init__(self, sku: _Optional[str] = ..., quantity: _Optional[int] = ..., unit_price_cents: _Optional[int] = ..., description: _Optional[str] = ...) -> None: ...

class Address(_message.Message):
    __slots__ = ("country", "name", "street", "city", "postcode")
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STREET_FIELD_NUMBER: _ClassVar[int]
    CITY_FIELD_NUMBER: _ClassVar[int]
    POSTCODE_FIELD_NUMBER: _ClassVar[int]
    country: str
    name: str
    street: str
    city: str
    postcode: str
    def __init__(self, country: _Optional[str] = ..., name: _Optional[str] = ..., street: _Optional[str] = ..., city: _Optional[str] = ..., postcode: _Optional[str] = ...) -> None: ...

class PlaceOrderRequest(_message.Message):
    __slots__ = ("idempotency_key", "customer_id", "items", "address", "payment_method", "fees_cents", "order_key")
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_METHOD_FIELD_NUMBER: _ClassVar[int]
    FEES_CENTS_FIELD_NUMBER: _ClassVar[int]
    ORDER_KEY_FIELD_NUMBER: _ClassVar[int]
    idempotency_key: str
    customer_id: str
    items: _containers.RepeatedCompositeFieldContainer[Item]
    address: Address
    payment_method: str
    fees_cents: int
    order_key: str
    def __init__(self, idempotency_key: _Optional[str] = ..., customer_id: _Optional[str] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., address: _Optional[_Union[Address, _Mapping]] = ..., payment_method: _Optional[str] = ..., fees_cents: _Optional[int] = ..., order_key: _Optional[str] = ...) -> None: ...

class PlaceOrderReply(_message.Message):
    __slots__ = ("order", "created")
    ORDER_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    order: Order
    created: bool
    def __init__(self, order: _Optional[_Union[Order, _Mapping]] = ..., created: _Optional[bool] = ...) -> None: ...

class GetOrderRequest(_message.Message):
    __slots__ = ("order_id",)
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    def __init__(self, order_id: _Optional[str] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("state", "limit")
    STATE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    state: OrderState
    limit: int
    def __init__(self, state: _Optional[_Union[OrderState, str]] = ..., limit: _Optional[int] = ...) -> None: ...

class CancelOrderRequest(_message.Message):
    __slots__ = ("order_id", "reason")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    reason: str
    def __init__(self, order_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("order_id", "order_key", "customer_id", "state", "items", "fees_cents", "total_cents", "charged_cents", "refunded_cents", "payment_attempts", "carrier", "tracking_number", "reason", "open_refunds")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_KEY_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    FEES_CENTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CENTS_FIELD_NUMBER: _ClassVar[int]
    CHARGED_CENTS_FIELD_NUMBER: _ClassVar[int]
    REFUNDED_CENTS_FIELD_NUMBER: _ClassVar[int]
    PAYMENT_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    CARRIER_FIELD_NUMBER: _ClassVar[int]
    TRACKING_NUMBER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OPEN_REFUNDS_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    order_key: str
    customer_id: str
    state: OrderState
    items: _containers.RepeatedCompositeFieldContainer[Item]
    fees_cents: int
    total_cents: int
    charged_cents: int
    refunded_cents: int
    payment_attempts: int
    carrier: str
    tracking_number: str
    reason: str
    open_refunds: int
    def __init__(self, order_id: _Optional[str] = ..., order_key: _Optional[str] = ..., customer_id: _Optional[str] = ..., state: _Optional[_Union[OrderState, str]] = ..., items: _Optional[_Iterable[_Union[Item, _Mapping]]] = ..., fees_cents: _Optional[int] = ..., total_cents: _Optional[int] = ..., charged_cents: _Optional[int] = ..., refunded_cents: _Optional[int] = ..., payment_attempts: _Optional[int] = ..., carrier: _Optional[str] = ..., tracking_number: _Optional[str] = ..., reason: _Optional[str] = ..., open_refunds: _Optional[int] = ...) -> None: ...

class OrderStatus(_message.Message):
    __slots__ = ("order_id", "state")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    state: OrderState
    def __init__(self, order_id: _Optional[str] = ..., state: _Optional[_Union[OrderState, str]] = ...) -> None: ...

class ListedOrder(_message.Message):
    __slots__ = ("order_id", "order_key", "state", "total_cents")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_KEY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CENTS_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    order_key: str
    state: OrderState
    total_cents: int
    def __init__(self, order_id: _Optional[str] = ..., order_key: _Optional[str] = ..., state: _Optional[_Union[OrderState, str]] = ..., total_cents: _Optional[int] = ...) -> None: ...

class OrderList(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[ListedOrder]
    def __init__(self, orders: _Optional[_Iterable[_Union[ListedOrder, _Mapping]]] = ...) -> None: ...
