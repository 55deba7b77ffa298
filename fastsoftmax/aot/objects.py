"""Object files of the manifest's functions, for the processor level that Numba has been told of.

`python -m fastsoftmax.aot.objects FOLDER ONLY PART PARTS` is one of the processes that `aot.link` starts: it
emits every PARTS-th function, from PART on.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
from llvmlite import binding as llvm
from llvmlite import ir
from numba import types

from fastsoftmax.runtime import jit, native, numba_internals
from fastsoftmax.runtime.width import width

if TYPE_CHECKING:
    from collections.abc import Iterator

# The folders of functions for kernels.
FOLDERS = (
    "fastsoftmax.simd",
    "fastsoftmax.losses.jitted",
    "fastsoftmax.kernels.cpu.jitted",
    "fastsoftmax.linalg.jitted",
)
SLOT = ir.IntType(64)
RANGE = "q,q,q"  # start, stop, part: the first arguments of a kernel


class Function(NamedTuple):
    """A function of the library for arguments of one signature."""

    module: str
    name: str
    signature: str  # without start, stop and part
    symbol: str
    dispatcher: Any
    is_kernel: bool


def load_all() -> list[str]:
    """Import every module that functions for kernels stand in; return their names."""
    found = []
    for folder in FOLDERS:
        package = importlib.import_module(folder)
        names = [folder, *(f"{folder}.{module.name}" for module in pkgutil.iter_modules(package.__path__))]
        for name in names:
            importlib.import_module(name)
        found += names
    return found


def functions() -> Iterator[Function]:
    """Yield what the library shall hold, in the same order in every process."""
    load_all()
    for (module, name), manifest in sorted(jit.MANIFEST.items(), key=lambda item: item[0]):
        for number, signature in enumerate(manifest.signatures):
            folder, _, file = module.removeprefix("fastsoftmax.").replace(".jitted", "").rpartition(".")
            symbol = f"{folder.rpartition('.')[2]}_{file}_{name}_{number}"
            yield Function(module, name, signature, symbol, manifest.dispatcher, manifest.is_kernel)


def _entry(prototype: Any, symbol: str) -> str:
    """Return the assembly of ``int symbol_entry(start, stop, part, block)``, which calls the function.

    `block` holds the arguments after the first three as Numba passes them, each in a slot of eight bytes.
    """
    module = ir.Module(symbol)
    callee = ir.Function(module, prototype, symbol)
    entry = ir.Function(
        module, ir.FunctionType(ir.IntType(32), [SLOT, SLOT, SLOT, SLOT.as_pointer()]), f"{symbol}_entry"
    )
    builder = ir.IRBuilder(entry.append_basic_block())
    # Where the function writes its result, which is none, and what it raises, which is a lack of memory.
    places = [builder.alloca(argument.type.pointee) for argument in callee.args[:2]]
    span, wanted = list(entry.args[:3]), [argument.type for argument in callee.args[5:]]
    arguments = []
    for number, kind in enumerate(wanted):
        value = builder.load(builder.gep(entry.args[3], [SLOT(number)]))
        arguments.append(_from_slot(builder, value, kind))
    builder.ret(builder.call(callee, [*places, *span, *arguments]))
    return str(module)


def _from_slot(builder: Any, value: Any, kind: Any) -> Any:
    if isinstance(kind, ir.PointerType):
        return builder.inttoptr(value, kind)
    if isinstance(kind, ir.DoubleType):
        return builder.bitcast(value, kind)
    return value if kind == SLOT else builder.trunc(value, kind)


def emit(function: Function, machine: Any) -> bytes:
    """Return the object file of a function: what Numba would run on that processor, and its entry."""
    numba_internals.keep_nothing(function.dispatcher)
    kinds = list(native.kinds(f"{RANGE},{function.signature}" if function.is_kernel else function.signature))
    compiled = numba_internals.compiled_module(function.dispatcher, types.void(*kinds))
    module = llvm.parse_bitcode(compiled.module.as_bitcode())
    numba_name = compiled.name
    for each in (*module.functions, *module.global_variables):
        if not each.is_declaration and each.name != numba_name:
            each.linkage = llvm.Linkage.internal
    module.get_function(numba_name).name = function.symbol
    if function.is_kernel:
        text = _entry(compiled.prototype, function.symbol)
        entry = llvm.parse_assembly(text)
        entry.triple, entry.data_layout = module.triple, module.data_layout
        module.link_in(entry)
    return bytes(machine.emit_object(module))


def main(folder: Path, only: str, part: int, parts: int) -> None:
    """Write an object file for every `parts`-th function, from `part` on, and say which in a table.

    Of those whose symbols match the regular expression `only`.
    """
    # As Numba's own machine, whose code can only stand where it was made.
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(
        cpu=numba.config.CPU_NAME, features=numba.config.CPU_FEATURES, opt=3, reloc="pic", codemodel="default"
    )
    rows = []
    for function in [each for each in functions() if re.search(only, each.symbol)][part::parts]:
        (folder / f"{function.symbol}.o").write_bytes(emit(function, machine))
        rows.append([function.module, function.name, function.signature, function.symbol])
    (folder / f"{part}.json").write_text(json.dumps({"rows": rows, "width": width()}))


if __name__ == "__main__":
    jit.SETTINGS |= jit.INNER  # no wrappers for Python, and no machine code for this process
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
