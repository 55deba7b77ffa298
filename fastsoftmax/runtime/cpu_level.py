"""What the processor that kernels are compiled for can do, which need not be the one that they run on.

Numba's settings may name an older processor than the host, or features that it shall not have. LLVM refuses
no operation that its target lacks: for each lane it emits a call of a C function that is slow (`fmaf`), or
that the process does not have (`__extendhfsf2`), which ends it. So code generators ask here first.
Importing this module imports neither Numba nor llvmlite.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple


class Level(NamedTuple):
    """What decides which code is emitted: three abilities of a processor."""

    f16c: bool  # float16 to float32 and back
    fma: bool
    wide_registers: bool  # registers of 64 bytes


# Numbers are passed and returned by value: pointers are written in other ways from one LLVM to the next.
PROBE = """
target triple = "{triple}"
declare <4 x float> @llvm.fma.v4f32(<4 x float>, <4 x float>, <4 x float>)
define <4 x float> @fused(<4 x float> %a, <4 x float> %b, <4 x float> %c) {{
  %r = call <4 x float> @llvm.fma.v4f32(<4 x float> %a, <4 x float> %b, <4 x float> %c)
  ret <4 x float> %r
}}
define <8 x float> @widened(<8 x i16> %bits) {{
  %x = bitcast <8 x i16> %bits to <8 x half>
  %r = fpext <8 x half> %x to <8 x float>
  ret <8 x float> %r
}}
define <16 x float> @wide(<16 x float> %a, <16 x float> %b) {{
  %r = fadd <16 x float> %a, %b
  ret <16 x float> %r
}}
"""


def has_f16c() -> bool:
    """Return whether the target has instructions for float16 to float32 and back."""
    return _target_level().f16c


def has_fma() -> bool:
    """Return whether the target has fused multiply-adds of float32 and float64 vectors."""
    return _target_level().fma


def has_wide_registers() -> bool:
    """Return whether the target has registers of 64 bytes (AVX-512)."""
    return _target_level().wide_registers


@functools.cache
def level_of(name: str, features: str) -> Level:
    """Return what LLVM makes use of on an x86 processor.

    Parameters
    ----------
    name : str
        LLVM's name of the processor, such as "haswell" or "x86-64-v2".
    features : str
        What differs from that processor, such as "+avx2,-fma". The order matters: one feature may turn others
        on or off.

    Notes
    -----
    Emits assembly of three small functions and looks for the instructions, within 5 ms. Names of features
    alone do not tell: they imply each other.
    """
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    triple = binding.get_process_triple()
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=name, features=features)
    text = machine.emit_assembly(binding.parse_assembly(PROBE.format(triple=triple)))
    return Level("vcvtph2ps" in text, "vfmadd" in text, "zmm" in text)


@functools.cache
def _target_level() -> Level:
    """Return what the target of Numba's compiler can do; settings that change later are not seen."""
    import numba
    from llvmlite import binding

    if not re.match(r"x86_64|i\d86", binding.get_process_triple()):
        return Level(f16c=True, fma=True, wide_registers=False)  # as every 64-bit ARM
    config = numba.config
    try:
        host = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM knows no features of this system: Numba then names none, either
        host = binding.FeatureMap()
    if host and config.CPU_NAME is None and config.CPU_FEATURES is None and config.ENABLE_AVX:
        f16c, fma, fma4, wide = (bool(host.get(key)) for key in ("f16c", "fma", "fma4", "avx512f"))
        return Level(f16c, fma or fma4, wide)
    # From here on as Numba composes its target: a name alone leaves it the host's features.
    if not config.ENABLE_AVX:
        host.update({key: False for key in host if key.startswith("avx")})
    name = binding.get_host_cpu_name() if config.CPU_NAME is None else config.CPU_NAME
    return level_of(name, host.flatten() if config.CPU_FEATURES is None else config.CPU_FEATURES)
