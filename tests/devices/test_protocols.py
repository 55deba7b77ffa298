"""Law: every device module has the verbs of its protocols, argument by argument, and no public name besides.

Read from the source: a module of a device is compared where that device cannot be used, too.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from fastsoftmax.contracts import device as protocols
from fastsoftmax.devices import DEVICES
from tests.interpreter import ROOT

PROTOCOLS = {"cpu": protocols.Host, "cuda": protocols.Accelerator}
EMPTY = inspect.Parameter.empty


def file_of(module):
    """The file of a module or package."""
    path = ROOT / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def definition(module, name):
    """The `def` that a name of a module stands for, through its imports from one another."""
    for node in ast.parse(file_of(module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return definition(node.module, alias.name)
    raise AssertionError(f"{module} has no function {name}")


def public(module):
    """The names in `__all__` of a module."""
    for node in ast.parse(file_of(module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(to) for to in node.targets] == ["__all__"]:
            return ast.literal_eval(node.value)
    raise AssertionError(f"{module} has no __all__")


def of_source(node):
    """(name, kind, default) of each parameter of a `def`; defaults as they are written."""
    own = node.args
    assert own.vararg is own.kwarg is None
    plain = [*own.posonlyargs, *own.args]
    defaults = [EMPTY] * (len(plain) - len(own.defaults)) + own.defaults
    kinds = [inspect.Parameter.POSITIONAL_ONLY] * len(own.posonlyargs)
    kinds += [inspect.Parameter.POSITIONAL_OR_KEYWORD] * len(own.args)
    parameters = list(zip(plain, kinds, defaults, strict=True))
    parameters += [
        (argument, inspect.Parameter.KEYWORD_ONLY, EMPTY if default is None else default)
        for argument, default in zip(own.kwonlyargs, own.kw_defaults, strict=True)
    ]
    return [
        (argument.arg, kind, default if default is EMPTY else ast.unparse(default))
        for argument, kind, default in parameters
    ]


def of_protocol(function):
    """The same of a protocol's method, without `self`."""
    source = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function))).body[0]
    return of_source(source)[1:]


def methods(protocol):
    """The methods of a protocol and of those that it extends, by name."""
    found = {}
    for kind in reversed(protocol.__mro__):
        if getattr(kind, "_is_protocol", False):
            found |= {name: f for name, f in vars(kind).items() if inspect.isfunction(f) and name[0] != "_"}
    return found


CASES = [(device, name) for device, protocol in PROTOCOLS.items() for name in methods(protocol)]


def test_every_device_has_a_protocol():
    assert list(PROTOCOLS) == list(DEVICES)
    for protocol in PROTOCOLS.values():
        assert protocols.Device in protocol.__mro__
        assert methods(protocols.Device).items() < methods(protocol).items()


@pytest.mark.parametrize("device", DEVICES)
def test_a_device_has_the_names_of_its_protocol(device):
    names = public(DEVICES[device])
    assert len(names) == len(set(names))
    assert set(names) == set(methods(PROTOCOLS[device]))


@pytest.mark.parametrize(("device", "name"), CASES)
def test_a_verb_has_the_arguments_of_its_protocol(device, name):
    assert of_source(definition(DEVICES[device], name)) == of_protocol(methods(PROTOCOLS[device])[name])


def test_a_difference_would_be_seen():
    def one(self, a, b=1, *, c=None): ...
    def other(self, a, b=2, *, c=None): ...

    read = [("a", EMPTY), ("b", "1"), ("c", "None")]
    assert [(name, default) for name, _, default in of_protocol(one)] == read
    assert of_protocol(one) != of_protocol(other)
    with pytest.raises(AssertionError, match="has no function"):
        definition(DEVICES["cpu"], "no_such_verb")


@pytest.mark.parametrize("device", DEVICES)
def test_the_source_is_what_is_imported(device):
    """Where the device can be used, its functions have the arguments that were read."""
    try:
        module = importlib.import_module(DEVICES[device])
    except RuntimeError as error:
        pytest.skip(str(error))
    for name in public(DEVICES[device]):
        own = inspect.signature(getattr(module, name)).parameters.values()
        known = [(parameter, kind) for parameter, kind, _ in of_source(definition(DEVICES[device], name))]
        assert [(parameter.name, parameter.kind) for parameter in own] == known
