"""Types that all layers share: values, storages, queries and protocols. Nothing here computes."""

from typing import TYPE_CHECKING

from fastsoftmax.contracts.points import KeptLogits, Point
from fastsoftmax.contracts.storages import (
    NATIVE_DTYPES,
    Csr,
    DeviceArray,
    Halves,
    Resident,
    RowBlock,
    compute_dtype,
    is_narrow,
    row_slice,
)
from fastsoftmax.contracts.values import (
    Centre,
    CrossEntropyOptions,
    DeviceUnavailable,
    ManySums,
    Mixture,
    Params,
    Record,
    Solution,
    State,
    Sums,
    Top,
)

if TYPE_CHECKING:
    from fastsoftmax.contracts.device import Loss as Loss
    from fastsoftmax.contracts.storages import HostRows as HostRows
    from fastsoftmax.contracts.storages import Rows as Rows
    from fastsoftmax.contracts.values import Array as Array
    from fastsoftmax.contracts.values import DType as DType
    from fastsoftmax.contracts.values import MatrixLike as MatrixLike
    from fastsoftmax.contracts.values import Vector as Vector

__all__ = [
    "NATIVE_DTYPES",
    "Centre",
    "CrossEntropyOptions",
    "Csr",
    "DeviceArray",
    "DeviceUnavailable",
    "Halves",
    "KeptLogits",
    "ManySums",
    "Mixture",
    "Params",
    "Point",
    "Record",
    "Resident",
    "RowBlock",
    "Solution",
    "State",
    "Sums",
    "Top",
    "compute_dtype",
    "is_narrow",
    "row_slice",
]
