"""Compiling, caching and running kernels: process state, fork hooks and private parts of other libraries.

State that belongs to the process rather than to a call lives in this folder, with two exceptions that are
named below. Additions must be listed here.

State of the process
--------------------
What modules keep between calls. All of it is safe to use from several threads.

- `lazy_imports`: the lock under which modules are loaded on first use.
- `blas`: the users that hold BLAS to one thread at the moment, the lock around that, the libraries that were
  found, and their numbers of threads to restore.
- `thread_pool`: the queue of calls that want helpers, and the threads that wait at it.
- `executor`: the choice of `set_executor`, whether this process is a forked child, and whether a `prange`
  is safe in it (`_state`); addresses of serial kernels by the types of their arguments (`_addresses`); bounds
  of ranges (`even_bounds`).
- `library`: the library of compiled kernels, once it has been opened or found wanting (`_opened`), and what
  has been missed of it (`_state`). Each `kernels.Kernel` keeps what calls it.
- `signatures`: the classes of named tuples that kernels take (`NAMES`); `jit`: the functions that the library
  shall hold (`MANIFEST`).
- `blas`, `kernels`, `width`: addresses of BLAS's functions and of compiled ones, and the shapes of register
  tiles (`functools.cache`): constants of a process, which hold in its forked children.
- `seals`: the sources of kernels, their imports and seals, each read once (`SOURCES`).
- `cpu_level`: what the processor that kernels are compiled for can do.
- `kernel_cache`, `self_test`: what has been said in the log already.
- `process_token`: what tells the process from others that make files.
- `compiling`: how many kernels were compiled and in how long, who is told of it, and what is called at the
  next compilation (`_state`).
- Numba: the lock of its compiler, what each jitted function has compiled, its threading layer.
- Elsewhere, `devices.registry`: the modules that compute on a device, once they have been found usable.
  Those of the GPU keep its context, streams and compiled kernels, which a forked child cannot use.
- Elsewhere, `losses`: the families by name (`_FAMILIES`) and the row functions that they have registered
  (`row_functions._ROW_FUNCTIONS`).

A `buffers.BufferPool` belongs to its creator.

Hooks around a fork
-------------------
All are registered by `forks.at_fork`. Those before a fork run in the opposite order of registration.

============ ============= ============= ========================== ========================================
module       before        in the parent in the child               why
============ ============= ============= ========================== ========================================
lazy_imports take its lock release it    release it                 a child has no half of a module
jit          take Numba's  release it    release it                 a child can compile, though another
             compiler lock                                          thread did when it was made
blas         take its lock release it    new lock; forget users in  calls of other threads never end in a
                                         threads that are not there child: it would have one thread for good
thread_pool                              new queue, no threads      a child has none of the pool's threads
executor                                 no `prange` from now on    GNU OpenMP would end the child
compiling                                no reports to lines of the a child would write over the line of
                                         parent                     its parent
============ ============= ============= ========================== ========================================

Private parts of other libraries
--------------------------------
`numba_internals` and `scikit_learn` are the only modules that import them (`kernels.cuda.runtime` for those
of `numba.cuda`). `private_parts` says what is relied on of each, and checks it.

============================================= ===========================================================
Numba                                         used in
============================================= ===========================================================
cgutils                                       simd, kernels.cpu.jitted.gather, numba_internals
BaseContext, the context of code generators   simd, kernels.cpu.jitted.gather, native
CPUContext.call_conv, CPUCallConv             numba_internals.emit_call, for native
Dispatcher.get_compile_result, CompileResult, numba_internals.address_of, for native
FunctionDescriptor.llvm_func_name,
JITCodeLibrary.get_pointer_to_function
Dispatcher._cache                             numba_internals.set_cache, for jit
FunctionCache, CacheImpl, serialize.dumps     kernel_cache
JITCodeLibrary, JITCPUCodegen, Compiler       private_library
global_compiler_lock                          jit
types.NamedTuple.instance_class               numba_internals.named_tuple_class, for losses, kernels.cpu,
                                              kernel_cache
config: the settings that change code         kernel_cache, cpu_level
NullCache, JITCodeLibrary._ensure_finalized,  numba_internals.compiled_module, for aot
CompileResult.target_context
============================================= ===========================================================

========================================================= =================================================
scikit-learn                                              used in
========================================================= =================================================
base._fit_context                                         estimator.softmax_regression, estimator.path
BaseEstimator._validate_params, _parameter_constraints    estimator.softmax_regression
linear_model._base.LinearClassifierMixin, SparseCoefMixin estimator.softmax_regression
utils._param_validation.Hidden, Interval, StrOptions      estimator.hyperparameters
callback.CallbackSupportMixin, CallbackContext (1.9)      estimator.softmax_regression, estimator.callbacks
========================================================= =================================================

``python -m fastsoftmax.runtime.self_test`` says which of them the installed versions have changed.
"""
