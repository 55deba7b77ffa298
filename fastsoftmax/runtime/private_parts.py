"""Table of the private parts of Numba and scikit-learn that are relied on: what of each, where, and a check.

It is asked by `runtime.self_test`. A new reliance is a line here. This module imports the standard library
alone.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable


class Part(NamedTuple):
    """A private part, what is relied on of it, and where.

    `check` takes what has the part's name, None for a behaviour. It returns False, or raises anything,
    where the part has changed.
    """

    name: str
    relied_on: str
    used_in: str  # modules of this package
    check: Callable[[object], bool]
    is_behaviour: bool = False  # of several parts together; something is compiled, or run

    @property
    def library(self) -> str:
        """What the part belongs to, as package registries call it."""
        return "scikit-learn" if self.name.startswith("sklearn") else "numba"

    @property
    def sentence(self) -> str:
        """What to say if it has changed."""
        places = ", ".join(f"fastsoftmax.{place}" for place in self.used_in.split())
        return f"{self.name} has changed: relied on is that {self.relied_on} (in {places})."


def _called(name: str, call: str, used_in: str) -> Part:
    """Return a part that is called like this: so many arguments by place, and these by name."""

    def check(part: object) -> bool:
        wanted = cast("ast.Call", ast.parse(call, mode="eval").body)
        keywords = {str(each.arg): None for each in wanted.keywords}
        inspect.signature(cast("Callable[..., object]", part)).bind(*wanted.args, **keywords)
        return True

    return Part(name, f"it can be called as {call}", used_in, check)


def _property(name: str, meaning: str, used_in: str) -> Part:
    return Part(name, f"it is a property, {meaning}", used_in, lambda part: isinstance(part, property))


def _having(name: str, attributes: str, used_in: str) -> Part:
    return Part(
        name,
        f"it has {attributes}",
        used_in,
        lambda part: all(hasattr(part, a) for a in attributes.split(", ")),
    )


def _naming(name: str, attribute: str, used_in: str) -> Part:
    """Return a function that reads or writes an attribute of that name."""

    def check(part: object) -> bool:
        code = getattr(part, "__func__", part).__code__  # type: ignore[attr-defined]
        return attribute in (*code.co_names, *code.co_consts)

    return Part(name, f"it knows of `{attribute}`", used_in, check)


def _typed(kind: str, fields: str, example: object) -> Part:
    """Return the part that `numba.typeof` gives for a named tuple."""

    def check(part: object) -> bool:
        found = importlib.import_module("numba").typeof(example)
        return type(found) is part and found.instance_class is type(example)

    relied_on = f"it is the type of a named tuple of {fields} numbers, whose class is its `instance_class`"
    return Part(f"numba.core.types.{kind}", relied_on, "runtime.numba_internals", check)


class Unlike(NamedTuple):
    """A pair of numbers of two types."""

    first: int
    second: float


class Alike(NamedTuple):
    """A pair of numbers of one type."""

    first: int
    second: int


SIMD = "simd kernels.cpu.jitted.gather"
DOOR = "runtime.numba_internals"
CACHE = "runtime.kernel_cache"
PRIVATE = "runtime.private_library"
ESTIMATOR = "estimator.softmax_regression"
TASK = "estimator=None, X=None, y=None, metadata=None, reconstruction_attributes=None"
STRUCTURE = (
    _called("numba.core.cgutils.alloca_once", "alloca_once(builder, kind, size=size)", "simd"),
    _called("numba.core.cgutils.alloca_once_value", "alloca_once_value(builder, value)", "simd"),
    _called("numba.core.cgutils.for_range", "for_range(builder, count)", SIMD),
    _called(
        "numba.core.cgutils.get_or_insert_function", "get_or_insert_function(module, kind, name)", "simd"
    ),
    _called("numba.core.cgutils.if_unlikely", "if_unlikely(builder, condition)", DOOR),
    _called("numba.core.cgutils.is_not_null", "is_not_null(builder, value)", "simd"),
    _called("numba.core.cgutils.unpack_tuple", "unpack_tuple(builder, values, count)", f"{DOOR} {SIMD}"),
    _called(
        "numba.core.base.BaseContext.cast", "cast(self, builder, value, old, new)", "simd runtime.native"
    ),
    _called(
        "numba.core.base.BaseContext.get_data_type", "get_data_type(self, kind)", "kernels.cpu.jitted.gather"
    ),
    _called("numba.core.base.BaseContext.get_dummy_value", "get_dummy_value(self)", SIMD),
    _called(
        "numba.core.base.BaseContext.get_value_type",
        "get_value_type(self, kind)",
        "runtime.native kernels.cpu.jitted.gather",
    ),
    _called(
        "numba.core.base.BaseContext.add_dynamic_addr",
        "add_dynamic_addr(self, builder, address, info=name)",
        "backends.numba",
    ),
    _called("numba.core.base.BaseContext.make_array", "make_array(self, kind)", SIMD),
    _called("numba.core.base.BaseContext.make_tuple", "make_tuple(self, builder, kind, values)", "simd"),
    _property("numba.core.cpu.CPUContext.call_conv", "how functions call each other", DOOR),
    _called(
        "numba.core.callconv.CPUCallConv.get_function_type", "get_function_type(self, result, kinds)", DOOR
    ),
    _called(
        "numba.core.callconv.CPUCallConv.call_function",
        "call_function(self, builder, function, result, kinds, arguments)",
        DOOR,
    ),
    _called(
        "numba.core.callconv.CPUCallConv.return_status_propagate",
        "return_status_propagate(self, builder, status)",
        DOOR,
    ),
    _having("numba.core.compiler_lock.global_compiler_lock", "acquire, release", "runtime.jit"),
    _called("numba.core.serialize.dumps", "dumps(value)", CACHE),
    _called("numba.core.caching.FunctionCache", "FunctionCache(function)", CACHE),
    _called("numba.core.caching.FunctionCache.load_overload", "load_overload(self, sig, context)", CACHE),
    _called("numba.core.caching.FunctionCache.save_overload", "save_overload(self, sig, data)", CACHE),
    _called("numba.core.caching.FunctionCache._index_key", "_index_key(self, sig, codegen)", CACHE),
    _property("numba.core.caching.FunctionCache.cache_path", "the folder of the cache", CACHE),
    _property("numba.core.caching.CacheImpl.filename_base", "what the names of its files begin with", CACHE),
    _called("numba.core.codegen.JITCodeLibrary", "JITCodeLibrary(codegen, name)", PRIVATE),
    _called(
        "numba.core.codegen.JITCodeLibrary._optimize_final_module", "_optimize_final_module(self)", PRIVATE
    ),
    _called(
        "numba.core.codegen.JITCodeLibrary._finalize_final_module", "_finalize_final_module(self)", PRIVATE
    ),
    _called(
        "numba.core.codegen.JITCodeLibrary._finalize_dynamic_globals",
        "_finalize_dynamic_globals(self)",
        PRIVATE,
    ),
    _property("numba.core.codegen.JITCodeLibrary.codegen", "the code generator", PRIVATE),
    _called("numba.core.codegen.JITCPUCodegen.set_env", "set_env(self, name, environment)", PRIVATE),
    _called(
        "numba.core.codegen.JITCodeLibrary.enable_object_caching", "enable_object_caching(self)", PRIVATE
    ),
    _called(
        "numba.core.codegen.JITCodeLibrary.get_pointer_to_function",
        "get_pointer_to_function(self, name)",
        DOOR,
    ),
    _called("numba.core.compiler.Compiler.compile_extra", "compile_extra(self, function)", PRIVATE),
    _having("numba.core.compiler.CompileResult", "library, fndesc, target_context", DOOR),
    _called("numba.core.codegen.JITCodeLibrary._ensure_finalized", "_ensure_finalized(self)", DOOR),
    _called("numba.core.caching.NullCache", "NullCache()", DOOR),
    _property("numba.core.funcdesc.FunctionDescriptor.llvm_func_name", "the name in the library", DOOR),
    _called(
        "numba.core.dispatcher.Dispatcher.get_compile_result", "get_compile_result(self, signature)", DOOR
    ),
    _typed("NamedTuple", "different", Unlike(1, 2.0)),
    _typed("NamedUniTuple", "like", Alike(1, 2)),
    _having(
        "numba.config",
        "OPT, DEBUGINFO_DEFAULT, LOOP_VECTORIZE, SLP_VECTORIZE, BOUNDSCHECK, USING_SVML, CACHE_DIR, "
        "CPU_NAME, CPU_FEATURES, ENABLE_AVX",
        f"{CACHE} runtime.cpu_level",
    ),
    _called("sklearn.base._fit_context", "_fit_context(prefer_skip_nested_validation=True)", ESTIMATOR),
    _called("sklearn.base.BaseEstimator._validate_params", "_validate_params(self)", ESTIMATOR),
    _called("sklearn.base.BaseEstimator._get_param_names", "_get_param_names()", "estimator.hyperparameters"),
    _having(
        "sklearn.linear_model._base.LinearClassifierMixin",
        "decision_function, predict, score, __sklearn_tags__",
        f"{ESTIMATOR} estimator.prediction",
    ),
    _called("sklearn.linear_model._base.SparseCoefMixin.densify", "densify(self)", ESTIMATOR),
    _called("sklearn.linear_model._base.SparseCoefMixin.sparsify", "sparsify(self)", ESTIMATOR),
    _called(
        "sklearn.utils._param_validation.Interval",
        "Interval(kind, left, right, closed='both')",
        "estimator.hyperparameters",
    ),
    _called(
        "sklearn.utils._array_api.get_namespace_and_device",
        "get_namespace_and_device(X)",
        "runtime.scikit_learn",
    ),
    _called("sklearn.utils._param_validation.StrOptions", "StrOptions(names)", "estimator.hyperparameters"),
    _called("sklearn.utils._param_validation.Hidden", "Hidden(constraint)", "estimator.hyperparameters"),
    _called(
        "sklearn.metrics._scorer._Scorer",
        "_Scorer(score_func, sign, kwargs, response_method='predict')",
        "runtime.scikit_learn",
    ),
    _called(
        "sklearn.callback.CallbackSupportMixin._init_callback_context",
        "_init_callback_context(self, max_subtasks=1)",
        "estimator.callbacks",
    ),
    _naming("sklearn.callback.CallbackSupportMixin.set_callbacks", "_skl_callbacks", "estimator.callbacks"),
    _naming(
        "sklearn.callback.CallbackContext._from_estimator", "_parent_callback_ctx", "estimator.callbacks"
    ),
    _called(
        "sklearn.callback.CallbackContext.subcontext", "subcontext(self, task_name='')", "estimator.callbacks"
    ),
    _called(
        "sklearn.callback.CallbackContext.call_on_fit_task_begin",
        f"call_on_fit_task_begin(self, {TASK})",
        "estimator.callbacks",
    ),
    _called(
        "sklearn.callback.CallbackContext.call_on_fit_task_end",
        f"call_on_fit_task_end(self, {TASK})",
        "estimator.callbacks",
    ),
)
