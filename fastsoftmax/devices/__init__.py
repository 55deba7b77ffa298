"""Devices by name, the placement of "auto", and other libraries' arrays on a device."""

from fastsoftmax.devices.external import (
    elsewhere,
    empty,
    fetched,
    given_back,
    labels_for,
    refuse_on_the_host,
    take_rows,
    taken_to_host,
    with_constant,
    work,
)
from fastsoftmax.devices.guests import guest, hosted
from fastsoftmax.devices.placement import settled
from fastsoftmax.devices.registry import AUTO, CHOICES, DEVICES, accelerator, answer, get, host

__all__ = [
    "AUTO",
    "CHOICES",
    "DEVICES",
    "accelerator",
    "answer",
    "elsewhere",
    "empty",
    "fetched",
    "get",
    "given_back",
    "guest",
    "host",
    "hosted",
    "labels_for",
    "refuse_on_the_host",
    "settled",
    "take_rows",
    "taken_to_host",
    "with_constant",
    "work",
]
