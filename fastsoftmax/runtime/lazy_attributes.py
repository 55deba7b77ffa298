"""Attributes that are computed when they are first looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801 - a decorator, as `functools.cached_property` is
    """Keep what a method returns as an attribute of that name.

    Python 3.11's `functools.cached_property` holds one lock for all instances while it computes: a child that
    is forked meanwhile waits for it for ever. Here two threads may both compute, to the same end.
    """

    def __init__(self, method: Callable[[Any], T]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> lazy[T]: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...

    def __get__(self, instance: Any, owner: type | None = None) -> T | lazy[T]:
        if instance is None:  # accessed on the class, as help() does
            return self
        value = self._method(instance)
        instance.__dict__[self._name] = value  # is found before this from now on
        return value
