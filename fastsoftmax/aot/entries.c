/* Calls machine-code kernels with NumPy arrays, numbers and (named) tuples.
 *
 * An Entry describes a call's arguments by a signature such as "f8:2C,q" and
 * flattens their values into a block of 8-byte slots, both in one sweep, then
 * runs the kernel that its table has for the signature.  A Bound keeps the
 * block, for arguments that are used again and again.
 *
 * The sweep runs no Python code, so that while it holds the GIL nothing can
 * change between describing an argument and reading its values.  The limited
 * API has vectorcall only since 3.12; calls are therefore METH_FASTCALL methods,
 * which the interpreter calls as fast, not tp_call. */

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>
#include <structmember.h>

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/arrayobject.h>

#include <assert.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <stdint.h>
#include <string.h>

/* Limits of one call, enough for 50 arrays of two dimensions.  The buffers are
 * on the stack, where 5 KiB are little even for a thread.  The second limit also
 * bounds the recursion into tuples, as each level writes a parenthesis. */
enum { MAX_SLOTS = 512, MAX_SIGNATURE = 1024 };

/* The number of dimensions is one digit in a signature. */
enum { MAX_DIMENSIONS = 9 };

/* Slots before an array's shape: two zeros, size, item size, data. */
enum { ARRAY_HEADER = 5 };

static_assert(sizeof(npy_intp) == 8 && sizeof(void *) == 8 && sizeof(double) == 8,
              "a slot has 8 bytes");

typedef int32_t Kernel(int64_t start, int64_t stop, int64_t part, const int64_t *block);

/* An item of a dict: a signature with a kernel's address, or a class with its name.
 * The text is that of the string in it, the meaning is the kernel or the class. */
typedef struct {
    PyObject *key, *value;
    const char *text;
    Py_ssize_t length;
    void *meaning;
} Record;

typedef struct {
    Record *records;
    Py_ssize_t count;
} Table;

/* Entry and Bound never change what they refer to.  Like tuples they can
 * therefore do without tp_clear: every cycle through them has another object
 * that can be cleared.  So a call never meets a half-cleared object. */
typedef struct {
    PyObject_HEAD
    PyObject *name;
    Table kernels; /* most recently used first */
    Table classes;
} Entry;

typedef struct {
    PyObject_HEAD
    Kernel *kernel;
    PyObject *arguments; /* keeps the memory that the block points to */
    int64_t *block;
} Bound;

typedef struct {
    PyObject *bound_type;
} ModuleState;

/* What a sweep has written so far; each item of the signature ends in a comma. */
typedef struct {
    const Table *classes;
    Py_ssize_t length;
    Py_ssize_t slots;
    char signature[MAX_SIGNATURE];
    int64_t block[MAX_SLOTS];
} Description;

static const char NO_MEMORY[] = "a kernel found no memory to compute in";

typedef enum { FAILED = -1, MISSED = 0, DESCRIBED = 1 } Outcome;

/* Kind and size of items by NumPy's type number; other types have kind 0. */
static const struct {
    char kind, size;
} items[] = {
    [NPY_BOOL] = {'b', 1},
    [NPY_BYTE] = {'i', 1}, [NPY_UBYTE] = {'u', 1},
    [NPY_SHORT] = {'i', sizeof(short)}, [NPY_USHORT] = {'u', sizeof(short)},
    [NPY_INT] = {'i', sizeof(int)}, [NPY_UINT] = {'u', sizeof(int)},
    [NPY_LONG] = {'i', sizeof(long)}, [NPY_ULONG] = {'u', sizeof(long)},
    [NPY_LONGLONG] = {'i', sizeof(long long)}, [NPY_ULONGLONG] = {'u', sizeof(long long)},
    [NPY_HALF] = {'f', 2}, [NPY_FLOAT] = {'f', 4}, [NPY_DOUBLE] = {'f', 8},
};

static int has_room(const Description *to, Py_ssize_t length, Py_ssize_t slots)
{
    return length <= MAX_SIGNATURE - to->length && slots <= MAX_SLOTS - to->slots;
}

static Outcome describe_array(Description *to, PyArrayObject *array)
{
    const PyArray_Descr *type = PyArray_DESCR(array);
    unsigned int number = (unsigned int)type->type_num; /* negative for some user types */
    int flags = PyArray_FLAGS(array);
    int dimensions = PyArray_NDIM(array);
    if (number >= sizeof items / sizeof items[0] || items[number].kind == 0
        || type->byteorder == NPY_OPPBYTE || !(flags & NPY_ARRAY_ALIGNED)
        || dimensions > MAX_DIMENSIONS || !has_room(to, 6, ARRAY_HEADER + 2 * dimensions))
        return MISSED;

    char *text = to->signature + to->length;
    text[0] = items[number].kind;
    text[1] = (char)('0' + items[number].size);
    text[2] = ':';
    text[3] = (char)('0' + dimensions);
    text[4] = flags & NPY_ARRAY_C_CONTIGUOUS ? 'C' : flags & NPY_ARRAY_F_CONTIGUOUS ? 'F' : 'A';
    text[5] = ',';
    to->length += 6;

    int64_t *header = to->block + to->slots;
    int64_t *shape = header + ARRAY_HEADER;
    int64_t *strides = shape + dimensions;
    uint64_t size = 1; /* unsigned, as a broadcast array can have more items than fit */
    for (int i = 0; i < dimensions; i++) {
        shape[i] = PyArray_DIM(array, i);
        strides[i] = PyArray_STRIDE(array, i);
        size *= (uint64_t)shape[i];
    }
    header[0] = 0;
    header[1] = 0;
    header[2] = (int64_t)size;
    header[3] = items[number].size;
    header[4] = (int64_t)(intptr_t)PyArray_DATA(array);
    to->slots += ARRAY_HEADER + 2 * dimensions;
    return DESCRIBED;
}

static Outcome describe_scalar(Description *to, char letter, int64_t bits)
{
    if (!has_room(to, 2, 1))
        return MISSED;
    to->signature[to->length++] = letter;
    to->signature[to->length++] = ',';
    to->block[to->slots++] = bits;
    return DESCRIBED;
}

static Outcome describe(Description *to, PyObject *object);

static Outcome describe_tuple(Description *to, PyObject *tuple, const char *name, Py_ssize_t length)
{
    if (!has_room(to, length + 1, 0))
        return MISSED;
    memcpy(to->signature + to->length, name, (size_t)length);
    to->length += length;
    to->signature[to->length++] = '(';
    Py_ssize_t size = PyTuple_Size(tuple);
    for (Py_ssize_t i = 0; i < size; i++) {
        Outcome outcome = describe(to, PyTuple_GetItem(tuple, i));
        if (outcome != DESCRIBED)
            return outcome;
    }
    to->length -= size > 0; /* the comma of the last item */
    if (!has_room(to, 2, 0))
        return MISSED;
    to->signature[to->length++] = ')';
    to->signature[to->length++] = ',';
    return DESCRIBED;
}

static Outcome describe(Description *to, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyArray_Type)
        return describe_array(to, (PyArrayObject *)object);
    if (type == &PyTuple_Type)
        return describe_tuple(to, object, "", 0);
    if (type == &PyBool_Type)
        return describe_scalar(to, '?', object == Py_True);
    if (PyLong_Check(object)) {
        int overflow;
        long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
        return overflow != 0 ? MISSED : describe_scalar(to, 'q', value);
    }
    if (PyFloat_Check(object)) {
        double value = PyFloat_AsDouble(object);
        int64_t bits;
        memcpy(&bits, &value, sizeof bits);
        return describe_scalar(to, 'd', bits);
    }
    for (Py_ssize_t i = 0; i < to->classes->count; i++) {
        const Record *record = to->classes->records + i;
        if (type == record->meaning)
            return describe_tuple(to, object, record->text, record->length);
    }
    return MISSED;
}

static Outcome describe_all(Description *to, const Entry *entry, PyObject *const *arguments,
                            Py_ssize_t count)
{
    to->classes = &entry->classes;
    to->length = 0;
    to->slots = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        Outcome outcome = describe(to, arguments[i]);
        if (outcome != DESCRIBED)
            return outcome;
    }
    to->length -= count > 0; /* the comma of the last argument */
    return DESCRIBED;
}

/* Moves what it finds to the front: most programs repeat a few signatures, which
 * then need one or two comparisons, and lengths tell most others apart. */
static Kernel *find_kernel(Table *table, const Description *wanted)
{
    for (Py_ssize_t i = 0; i < table->count; i++) {
        Record record = table->records[i];
        if (record.length == wanted->length
            && memcmp(record.text, wanted->signature, (size_t)record.length) == 0) {
            if (i > 0) {
                memmove(table->records + 1, table->records, (size_t)i * sizeof record);
                table->records[0] = record;
            }
            return (Kernel *)record.meaning;
        }
    }
    return NULL;
}

/* Reads start, stop and part, which may run Python code. */
static int read_span(PyObject *const *arguments, int64_t span[3])
{
    for (int i = 0; i < 3; i++) {
        span[i] = PyLong_AsLongLong(arguments[i]);
        if (span[i] == -1 && PyErr_Occurred())
            return -1;
    }
    return 0;
}

static int run(Kernel *kernel, const int64_t span[3], const int64_t *block)
{
    PyThreadState *thread = PyEval_SaveThread();
    int32_t status = kernel(span[0], span[1], span[2], block);
    PyEval_RestoreThread(thread);
    if (status == 0)
        return 0;
    PyErr_SetString(PyExc_MemoryError, NO_MEMORY);
    return -1;
}

static PyObject *entry_call(Entry *self, PyObject *const *arguments, Py_ssize_t count)
{
    Description description;
    int64_t span[3];
    if (count < 3)
        return PyErr_Format(PyExc_TypeError, "call() takes start, stop, part and the arguments");
    if (read_span(arguments, span) < 0)
        return NULL;
    Outcome outcome = describe_all(&description, self, arguments + 3, count - 3);
    if (outcome == FAILED)
        return NULL;
    Kernel *kernel = outcome == DESCRIBED ? find_kernel(&self->kernels, &description) : NULL;
    if (kernel != NULL && run(kernel, span, description.block) < 0)
        return NULL;
    return PyBool_FromLong(kernel != NULL);
}

static PyObject *entry_signature(Entry *self, PyObject *const *arguments, Py_ssize_t count)
{
    Description description;
    Outcome outcome = describe_all(&description, self, arguments, count);
    if (outcome == DESCRIBED)
        return PyUnicode_FromStringAndSize(description.signature, description.length);
    return outcome == MISSED ? Py_NewRef(Py_None) : NULL;
}

static PyObject *entry_bind(Entry *self, PyObject *const *arguments, Py_ssize_t count)
{
    Description description;
    Outcome outcome = describe_all(&description, self, arguments, count);
    if (outcome == FAILED)
        return NULL;
    Kernel *kernel = outcome == DESCRIBED ? find_kernel(&self->kernels, &description) : NULL;
    if (kernel == NULL)
        Py_RETURN_NONE;

    ModuleState *state = PyType_GetModuleState(Py_TYPE((PyObject *)self));
    if (state == NULL) /* the interpreter is ending */
        return NULL;
    Bound *bound = (Bound *)PyType_GenericAlloc((PyTypeObject *)state->bound_type, 0);
    if (bound == NULL)
        return NULL;
    size_t bytes = (size_t)description.slots * sizeof *bound->block;
    bound->kernel = kernel;
    bound->block = PyMem_Malloc(bytes);
    bound->arguments = PyTuple_New(count);
    if (bound->block == NULL || bound->arguments == NULL) {
        Py_DECREF(bound);
        return PyErr_NoMemory();
    }
    memcpy(bound->block, description.block, bytes);
    for (Py_ssize_t i = 0; i < count; i++)
        PyTuple_SetItem(bound->arguments, i, Py_NewRef(arguments[i]));
    return (PyObject *)bound;
}

static PyObject *bound_call(Bound *self, PyObject *const *arguments, Py_ssize_t count)
{
    int64_t span[3];
    if (count != 3)
        return PyErr_Format(PyExc_TypeError, "call() takes start, stop and part");
    if (read_span(arguments, span) < 0 || run(self->kernel, span, self->block) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Returns the data of an int64 vector of at least `least` items with NumPy's flags, or
 * NULL with a TypeError. */
static int64_t *read_vector(PyObject *object, npy_intp least, int flags, const char *name)
{
    PyArrayObject *array = (PyArrayObject *)object;
    if (Py_TYPE(object) == &PyArray_Type && PyArray_NDIM(array) == 1 && PyArray_DIM(array, 0) >= least
        && (PyArray_FLAGS(array) & flags) == flags
        && PyArray_DESCR(array)->byteorder != NPY_OPPBYTE) {
        int number = PyArray_DESCR(array)->type_num;
        if (number == NPY_LONGLONG || (number == NPY_LONG && sizeof(long) == 8))
            return PyArray_DATA(array);
    }
    PyErr_Format(PyExc_TypeError, "%s is a vector of %zd int64 at least", name, (Py_ssize_t)least);
    return NULL;
}

static PyObject *bound_parts(Bound *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3)
        return PyErr_Format(PyExc_TypeError, "parts() takes bounds, next and most");
    const int64_t *bounds = read_vector(arguments[0], 1, NPY_ARRAY_CARRAY_RO, "bounds");
    int64_t *next = bounds == NULL ? NULL : read_vector(arguments[1], 1, NPY_ARRAY_CARRAY, "next");
    if (next == NULL)
        return NULL;
    int64_t parts = PyArray_DIM((PyArrayObject *)arguments[0], 0) - 1;
    int64_t left = PyLong_AsLongLong(arguments[2]);
    if (left == -1 && PyErr_Occurred())
        return NULL;

    int32_t status = 0;
    int64_t part = 0;
    PyThreadState *thread = PyEval_SaveThread();
    for (; left > 0 && status == 0; left--) {
        part = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
        if (part >= parts)
            break;
        status = self->kernel(bounds[part], bounds[part + 1], part, self->block);
    }
    PyEval_RestoreThread(thread);
    if (status != 0) {
        PyErr_SetString(PyExc_MemoryError, NO_MEMORY);
        return NULL;
    }
    return PyBool_FromLong(part < parts);
}

static int read_kernel(Record *record)
{
    record->text = PyUnicode_AsUTF8AndSize(record->key, &record->length);
    record->meaning = record->text == NULL ? NULL : PyLong_AsVoidPtr(record->value);
    if (record->meaning == NULL && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a kernel has the address 0");
    return record->meaning == NULL ? -1 : 0;
}

static int read_class(Record *record)
{
    if (!PyType_Check(record->key)
        || !PyType_IsSubtype((PyTypeObject *)record->key, &PyTuple_Type)) {
        PyErr_Format(PyExc_TypeError, "%R is no class of tuples", record->key);
        return -1;
    }
    record->text = PyUnicode_AsUTF8AndSize(record->value, &record->length);
    record->meaning = record->key;
    return record->text == NULL ? -1 : 0;
}

static int fill_table(Table *table, PyObject *dict, int (*read)(Record *))
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    table->records = PyMem_Calloc((size_t)PyDict_Size(dict), sizeof *table->records);
    if (table->records == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    while (PyDict_Next(dict, &position, &key, &value)) {
        Record *record = table->records + table->count++;
        record->key = Py_NewRef(key);
        record->value = Py_NewRef(value);
        if (read(record) < 0)
            return -1;
    }
    return 0;
}

static int visit_table(const Table *table, visitproc visit, void *arg)
{
    for (Py_ssize_t i = 0; i < table->count; i++) {
        Py_VISIT(table->records[i].key);
        Py_VISIT(table->records[i].value);
    }
    return 0;
}

static void free_table(Table *table)
{
    for (Py_ssize_t i = 0; i < table->count; i++) {
        Py_DECREF(table->records[i].key);
        Py_DECREF(table->records[i].value);
    }
    PyMem_Free(table->records);
}

static PyObject *entry_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *parameters[] = {"name", "addresses", "names", NULL};
    PyObject *name, *addresses, *names;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "UO!O!:Entry", parameters, &name,
                                     &PyDict_Type, &addresses, &PyDict_Type, &names))
        return NULL;
    Entry *entry = (Entry *)PyType_GenericAlloc(type, 0);
    if (entry == NULL)
        return NULL;
    entry->name = Py_NewRef(name);
    if (fill_table(&entry->kernels, addresses, read_kernel) < 0
        || fill_table(&entry->classes, names, read_class) < 0) {
        Py_DECREF(entry);
        return NULL;
    }
    return (PyObject *)entry;
}

static int entry_traverse(Entry *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    int status = visit_table(&self->kernels, visit, arg);
    return status != 0 ? status : visit_table(&self->classes, visit, arg);
}

static void free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static void entry_dealloc(Entry *self)
{
    PyObject_GC_UnTrack(self);
    free_table(&self->classes);
    free_table(&self->kernels);
    Py_XDECREF(self->name);
    free_object((PyObject *)self);
}

static int bound_traverse(Bound *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->arguments);
    return 0;
}

static void bound_dealloc(Bound *self)
{
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->arguments);
    PyMem_Free(self->block);
    free_object((PyObject *)self);
}

/* ---- The processor ---- */

#if defined(__x86_64__)

/* Whether all bits of `wanted` are set. */
static int has(unsigned int bits, unsigned int wanted)
{
    return (bits & wanted) == wanted;
}

/* The state that the system saves for each thread: without the upper halves of
 * registers in it, instructions on them must not be used. */
static unsigned int saved_state(void)
{
    unsigned int low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* The level by the feature bits that the x86-64 psABI lists for each; compilers have
 * a function for that, but not all of them have the same. */
static const char *level_of_x86(void)
{
    unsigned int a, b, ecx1 = 0, ebx7 = 0, ecx7, edx, ecx_extended = 0;
    __get_cpuid(1, &a, &b, &ecx1, &edx);
    __get_cpuid_count(7, 0, &a, &ebx7, &ecx7, &edx);
    __get_cpuid(0x80000001, &a, &b, &ecx_extended, &edx);
    /* SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF */
    if (!has(ecx1, 1u << 0 | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23)
        || !has(ecx_extended, 1u << 0))
        return "x86-64";
    /* FMA, MOVBE, OSXSAVE, AVX, F16C; LZCNT; BMI1, AVX2, BMI2; registers of 32 bytes */
    if (!has(ecx1, 1u << 12 | 1u << 22 | 1u << 27 | 1u << 28 | 1u << 29)
        || !has(ecx_extended, 1u << 5) || !has(ebx7, 1u << 3 | 1u << 5 | 1u << 8)
        || !has(saved_state(), 0x6))
        return "x86-64-v2";
    /* AVX-512 F, DQ, CD, BW, VL; masks and registers of 64 bytes */
    if (!has(ebx7, 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31) || !has(saved_state(), 0xe6))
        return "x86-64-v3";
    return "x86-64-v4";
}

#endif

static PyObject *cpu_level(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    const char *level = "";
#if defined(__x86_64__)
    level = level_of_x86();
#elif defined(__aarch64__)
    level = "aarch64";
#endif
    return PyUnicode_FromString(level);
}

/* ---- The module ---- */

/* The detour over void (*)(void) is the conversion that compilers take as meant. */
static PyMethodDef entry_methods[] = {
    {"call", (PyCFunction)(void (*)(void))entry_call, METH_FASTCALL,
     "call(start, stop, part, *arguments) -> bool\n\n"
     "Run the kernel for the arguments without the GIL; False if there is none."},
    {"bind", (PyCFunction)(void (*)(void))entry_bind, METH_FASTCALL,
     "bind(*arguments) -> Bound | None\n\nThe kernel with the arguments; None if there is none."},
    {"signature", (PyCFunction)(void (*)(void))entry_signature, METH_FASTCALL,
     "signature(*arguments) -> str | None\n\nNone if the arguments cannot be described."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef entry_members[] = {
    {"name", T_OBJECT_EX, offsetof(Entry, name), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot entry_slots[] = {
    {Py_tp_doc, "Entry(name, addresses, names)\n--\n\n"
                "Kernels by signature; names are those of named tuples in signatures."},
    {Py_tp_new, entry_new},
    {Py_tp_dealloc, entry_dealloc},
    {Py_tp_traverse, entry_traverse},
    {Py_tp_methods, entry_methods},
    {Py_tp_members, entry_members},
    {0, NULL},
};

static PyType_Spec entry_spec = {
    .name = "entries.Entry",
    .basicsize = sizeof(Entry),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = entry_slots,
};

static PyMethodDef bound_methods[] = {
    {"call", (PyCFunction)(void (*)(void))bound_call, METH_FASTCALL,
     "call(start, stop, part)\n\nRun the kernel without the GIL, from any thread."},
    {"parts", (PyCFunction)(void (*)(void))bound_parts, METH_FASTCALL,
     "parts(bounds, next, most) -> bool\n\n"
     "Run the kernel for the next parts between bounds that no other thread has taken, at most so\n"
     "many of them, without the GIL between them. Whether there may be more. `next`, an int64 array\n"
     "of one element that threads share, counts the parts that have been taken, from 0."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot bound_slots[] = {
    {Py_tp_doc, "A kernel with its arguments, from Entry.bind."},
    {Py_tp_dealloc, bound_dealloc},
    {Py_tp_traverse, bound_traverse},
    {Py_tp_methods, bound_methods},
    {0, NULL},
};

static PyType_Spec bound_spec = {
    .name = "entries.Bound",
    .basicsize = sizeof(Bound),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE
             | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = bound_slots,
};

static int module_exec(PyObject *module)
{
    if (PyArray_ImportNumPyAPI() < 0)
        return -1;
    ModuleState *state = PyModule_GetState(module);
    state->bound_type = PyType_FromModuleAndSpec(module, &bound_spec, NULL);
    PyObject *entry_type = PyType_FromModuleAndSpec(module, &entry_spec, NULL);
    int status = -1;
    if (state->bound_type != NULL && entry_type != NULL
        && PyModule_AddType(module, (PyTypeObject *)state->bound_type) == 0)
        status = PyModule_AddType(module, (PyTypeObject *)entry_type);
    Py_XDECREF(entry_type);
    return status;
}

/* There is no m_clear, as entries need the state as long as they live; the cycle
 * of the module and its types ends when the types are cleared. */
static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    ModuleState *state = PyModule_GetState(module);
    Py_VISIT(state->bound_type);
    return 0;
}

static void module_free(void *module)
{
    ModuleState *state = PyModule_GetState(module);
    Py_XDECREF(state->bound_type);
}

static PyMethodDef module_methods[] = {
    {"cpu_level", cpu_level, METH_NOARGS,
     "cpu_level() -> str\n\nThe processor's level, as compilers name it; '' if unknown."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "entries",
    .m_doc = "Calls machine-code kernels with NumPy arrays, numbers and tuples.",
    .m_size = sizeof(ModuleState),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit_entries(void)
{
    return PyModuleDef_Init(&module_def);
}
