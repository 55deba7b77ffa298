"""The functions and modules on tensors are PyTorch's: values, derivatives of both orders, dtypes, errors.

`python -m tests.backends` runs this in an environment of its own.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: python -m tests.backends")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch.nn import functional as reference  # noqa: E402

import fastsoftmax  # noqa: E402
import fastsoftmax.torch as ours  # noqa: E402

N_ROWS, N_CLASSES, N_FEATURES = 5, 7, 3
NARROW = [torch.float16, torch.bfloat16]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def drawn(*shape, dtype=torch.float64, requires_grad=True):
    return (3.0 * torch.randn(*shape, dtype=torch.float64)).to(dtype).requires_grad_(requires_grad)


def labels():
    return torch.tensor([0, 3, -100, 6, 3])


def probabilities():
    return drawn(N_ROWS, N_CLASSES, requires_grad=False).softmax(1)


def class_weight():
    return torch.linspace(0.0, 2.0, N_CLASSES, dtype=torch.float64)


OPTIONS = [
    {},
    {"weight": class_weight(), "label_smoothing": 0.2},
    {"reduction": "sum"},
    {"reduction": "none", "weight": class_weight(), "label_smoothing": 0.1},
]
OWN_OPTIONS = [
    {"z_loss": 0.1, "softcap": 2.0, "weight": class_weight()},
    {"z_loss": 0.1, "reduction": "none"},
]
SOFTMAXES = {
    "softmax": lambda module, x: module.softmax(x, 1),
    "log_softmax": lambda module, x: module.log_softmax(x, 0),
    "logsumexp": lambda module, x: module.logsumexp(x, 1),
    "logsumexp of all": lambda module, x: module.logsumexp(x, (0, 1), keepdim=True),
}


@pytest.mark.parametrize("name", SOFTMAXES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *NARROW])
def test_softmaxes_are_pytorchs(name, dtype):
    """Values and gradients of the softmax family, of tensors that are not contiguous, too, are PyTorch's."""
    for x in (drawn(N_ROWS, N_CLASSES, dtype=dtype), drawn(N_CLASSES, 2 * N_ROWS, dtype=dtype).T[::2]):
        exact = x.detach().double().requires_grad_()
        results = []
        for module, argument in ((ours, x), (torch, exact)):
            value = SOFTMAXES[name](module, argument)
            incoming = value.new_ones(1).expand_as(value)  # of strides 0, as that of a sum is
            results.append((value, torch.autograd.grad(value, argument, incoming)[0]))
        for own, expected in zip(*results):
            assert own.dtype is dtype
            eps = torch.finfo(dtype).eps
            torch.testing.assert_close(own.double(), expected, rtol=8 * eps, atol=8 * eps)


@pytest.mark.parametrize("name", SOFTMAXES)
def test_softmaxes_have_two_derivatives(name):
    """Both derivatives of the softmax family are those of differences."""
    x = drawn(N_ROWS, N_CLASSES)
    assert gradcheck(lambda x: SOFTMAXES[name](ours, x), x)
    assert gradgradcheck(lambda x: SOFTMAXES[name](ours, x), x)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_softmax_of_shapes(dim):
    """Numbers, empty tensors and three dimensions have PyTorch's results; infinite rows too."""
    for x in (drawn(2, 3, 4), drawn(2, 0, 4), torch.full((2, 3, 4), -torch.inf, dtype=torch.float64)):
        torch.testing.assert_close(ours.softmax(x, dim), torch.softmax(x, dim), equal_nan=True)
        torch.testing.assert_close(ours.logsumexp(x, dim), torch.logsumexp(x, dim), equal_nan=True)
    number = drawn(1)[0]
    assert ours.softmax(number, 0) == 1.0
    assert ours.logsumexp(number, 0) == number


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("target", [labels(), probabilities()], ids=["labels", "probabilities"])
def test_cross_entropy_is_pytorchs(target, options):
    """Value and gradient are PyTorch's, whatever the incoming gradient."""
    x = drawn(N_ROWS, N_CLASSES)
    own, theirs = (module.cross_entropy(x, target, **options) for module in (ours, reference))
    torch.testing.assert_close(own, theirs)
    for incoming in (
        torch.ones_like(own),
        torch.tensor(-3.0, dtype=x.dtype).expand_as(own),
        drawn(1)[0] * own.detach(),
    ):
        grads = (torch.autograd.grad(loss, x, incoming, retain_graph=True)[0] for loss in (own, theirs))
        torch.testing.assert_close(*grads)


@pytest.mark.parametrize("options", [*OPTIONS[1::2], *OWN_OPTIONS])
@pytest.mark.parametrize("target", [labels(), probabilities()], ids=["labels", "probabilities"])
def test_cross_entropy_has_two_derivatives(target, options):
    """Both derivatives by the logits are those of differences."""
    x = drawn(N_ROWS, N_CLASSES)
    assert gradcheck(lambda x: ours.cross_entropy(x, target, **options), x)
    assert gradgradcheck(lambda x: ours.cross_entropy(x, target, **options), x)


def test_targets_are_differentiated():
    """Probabilities that require a gradient get it, and the loss is the same."""
    x, soft = drawn(N_ROWS, N_CLASSES), probabilities().requires_grad_()
    options = {"label_smoothing": 0.1, "z_loss": 0.1, "softcap": 3.0, "weight": class_weight()}
    assert gradcheck(lambda x, soft: ours.cross_entropy(x, soft, **options), (x, soft))
    assert gradcheck(lambda x, soft: ours.sigmoid_cross_entropy(x, soft, class_weight()), (x, soft))
    fixed = soft.detach()
    torch.testing.assert_close(
        ours.cross_entropy(x, soft, **options), ours.cross_entropy(x, fixed, **options)
    )
    torch.testing.assert_close(ours.sigmoid_cross_entropy(x, soft), ours.sigmoid_cross_entropy(x, fixed))


@pytest.mark.parametrize("shape", [(N_CLASSES,), (2, N_CLASSES, 3), (2, N_CLASSES, 3, 2), (0, N_CLASSES)])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_shapes_are_pytorchs(shape, reduction):
    """A row without a batch, classes in the second of many dimensions, and no rows."""
    x = drawn(*shape)
    index = torch.randint(0, N_CLASSES, shape[:1] + shape[2:] if len(shape) > 1 else ())
    for target in (index, torch.rand(shape, dtype=torch.float64)):
        own, theirs = (m.cross_entropy(x, target, reduction=reduction) for m in (ours, reference))
        torch.testing.assert_close(own, theirs, equal_nan=True)
        grads = (torch.autograd.grad(loss.sum(), x)[0] for loss in (own, theirs))
        torch.testing.assert_close(*grads, equal_nan=True)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_sigmoid_cross_entropy_is_the_sum_over_labels(reduction):
    """It is PyTorch's of single labels, summed over a row; with both derivatives."""
    x, target, weight = drawn(N_ROWS, N_CLASSES), probabilities(), class_weight()
    losses = reference.binary_cross_entropy_with_logits(x, target, weight, reduction="none").sum(1)
    expected = {"mean": losses.mean(), "sum": losses.sum(), "none": losses}[reduction]
    torch.testing.assert_close(ours.sigmoid_cross_entropy(x, target, weight, reduction=reduction), expected)
    assert gradcheck(lambda x: ours.sigmoid_cross_entropy(x, target, weight, reduction=reduction), x)
    assert gradgradcheck(lambda x: ours.sigmoid_cross_entropy(x, target, weight, reduction=reduction), x)


@pytest.mark.parametrize("options", [*OPTIONS, *OWN_OPTIONS])
def test_linear_cross_entropy_is_that_of_the_logits(options):
    """Value and all gradients are those of the cross-entropy of F.linear, for any incoming gradient."""
    X, W, b = drawn(N_ROWS, N_FEATURES), drawn(N_CLASSES, N_FEATURES), drawn(N_CLASSES)
    for target in (labels(), probabilities()):
        own = ours.linear_cross_entropy(X, W, target, linear_bias=b, **options)
        theirs = ours.cross_entropy(reference.linear(X, W, b), target, **options)
        torch.testing.assert_close(own, theirs)
        incoming = torch.randn_like(own)  # of both signs where there is one a row
        for wanted in ((X, W, b), (W,)):
            grads = [torch.autograd.grad(loss, wanted, incoming, retain_graph=True) for loss in (own, theirs)]
            torch.testing.assert_close(*grads)


def test_linear_cross_entropy_has_two_derivatives():
    """Both derivatives by rows, weight and bias are those of differences."""
    X, W, b = drawn(N_ROWS, N_FEATURES), drawn(N_CLASSES, N_FEATURES), drawn(N_CLASSES)
    for options in OPTIONS[1::2]:
        function = lambda X, W, b: ours.linear_cross_entropy(X, W, labels(), linear_bias=b, **options)  # noqa: B023, E731
        assert gradcheck(function, (X, W, b))
        assert gradgradcheck(function, (X, W, b))


@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_losses_are_computed_in_float32(dtype):
    """Losses and gradients of 16 bits are those of the same numbers in float32, rounded once."""
    x = drawn(N_ROWS, N_CLASSES, dtype=dtype)
    X, W = drawn(N_ROWS, N_FEATURES, dtype=dtype), drawn(N_CLASSES, N_FEATURES, dtype=dtype)
    pairs = [
        (x, lambda x: ours.cross_entropy(x, labels())),
        (x, lambda x: ours.sigmoid_cross_entropy(x, torch.ones_like(x))),
        (W, lambda W: ours.linear_cross_entropy(X.to(W.dtype), W, labels())),
    ]
    for argument, function in pairs:
        wide = argument.detach().float().requires_grad_()
        narrow_loss, wide_loss = function(argument), function(wide)
        assert narrow_loss.dtype is dtype
        torch.testing.assert_close(narrow_loss, wide_loss.to(dtype))
        grads = torch.autograd.grad(narrow_loss, argument)[0], torch.autograd.grad(wide_loss, wide)[0]
        torch.testing.assert_close(grads[0], grads[1].to(dtype))


def test_float16_gradients_meet_the_scale_before_they_are_rounded():
    """With a GradScaler's factor, gradients that float16 has no numbers for are kept."""
    n_rows, scale = 2**20, 1024.0
    x = torch.zeros(n_rows, 5, dtype=torch.float16, requires_grad=True)
    loss = ours.cross_entropy(x, torch.zeros(n_rows, dtype=torch.int64)).float() * scale
    (grad,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(grad[0, 1].item(), 0.2 / n_rows * scale, rtol=2e-3, atol=0.0)


def test_autocast_gives_float32_losses():
    """Under autocast losses of bfloat16 logits are float32, and gradients stay with their tensors."""
    x = drawn(N_ROWS, N_CLASSES, dtype=torch.bfloat16)
    X, W = drawn(N_ROWS, N_FEATURES, dtype=torch.bfloat16), drawn(N_CLASSES, N_FEATURES, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = ours.cross_entropy(x, labels())
        linear_loss = ours.linear_cross_entropy(X, W, labels())
    assert loss.dtype is linear_loss.dtype is torch.float32
    assert torch.autograd.grad(loss, x)[0].dtype is torch.bfloat16
    grads = torch.autograd.grad(linear_loss, (X, W))
    assert [grad.dtype for grad in grads] == [torch.bfloat16, torch.float32]


def test_memory_is_shared_and_left_alone():
    """Inputs are read in place, not written, and a gradient that is changed says so at the next backward."""
    x = drawn(N_ROWS, N_CLASSES)
    before = x.detach().clone()
    loss = ours.cross_entropy(x, labels())
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)
    (second,) = torch.autograd.grad(loss, x, retain_graph=True)
    assert torch.equal(first, second)
    assert torch.equal(before, x)
    first.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, x)


def test_ignored_rows_may_hold_nan():
    """Rows that are ignored have a gradient of zero, in a recorded backward, too."""
    x = drawn(N_ROWS, N_CLASSES, requires_grad=False)
    x[2] = torch.nan
    x.requires_grad_()
    for create_graph in (False, True):
        loss = ours.cross_entropy(x, labels(), z_loss=0.1)
        (grad,) = torch.autograd.grad(loss, x, create_graph=create_graph)
        assert not grad[2].any()
        assert torch.isfinite(grad).all()


def test_functional_transforms():
    """torch.func.grad of the losses is autograd's gradient."""
    x = drawn(N_ROWS, N_CLASSES)
    expected = torch.autograd.grad(reference.cross_entropy(x, labels()), x)[0]
    torch.testing.assert_close(
        torch.func.grad(lambda x: ours.cross_entropy(x, labels()))(x.detach()), expected
    )


@pytest.mark.filterwarnings("ignore")  # of the compiler's own imports
def test_compiled_programs_call_the_operators():
    """A program around the functions is compiled as one graph, and has the gradients of the plain one."""

    def program(x, X, W):
        by_row = ours.linear_cross_entropy(X, W, labels(), reduction="none") * torch.arange(-2.0, 3.0)
        return (
            ours.cross_entropy(2 * x, labels(), label_smoothing=0.1)
            + ours.sigmoid_cross_entropy(x, torch.ones_like(x))
            + (ours.softmax(x, 1) * ours.log_softmax(x.T, 0).T).sum()
            + ours.logsumexp(x, 0).sum()
            + 3.0 * ours.linear_cross_entropy(X, W, labels())
            + by_row.sum()
        )

    arguments = drawn(N_ROWS, N_CLASSES), drawn(N_ROWS, N_FEATURES), drawn(N_CLASSES, N_FEATURES)
    compiled = torch.compile(program, fullgraph=True, backend="aot_eager")
    own, expected = (torch.autograd.grad(f(*arguments), arguments) for f in (compiled, program))
    torch.testing.assert_close(own, expected)


def test_operators_are_registered_as_pytorch_asks():
    """torch.library's own checks of schema, autograd and results without numbers."""
    x, X, W = drawn(N_ROWS, N_CLASSES), drawn(N_ROWS, N_FEATURES), drawn(N_CLASSES, N_FEATURES)
    options = (-100, 0.1, "mean", 0.0, 0.0)
    calls = {
        "softmax": (x, 1),
        "logsumexp": (x, [0], False),
        "cross_entropy": (x, labels(), class_weight(), *options, True),
        "sigmoid_cross_entropy": (x, probabilities(), None, "none", True),
        "linear_cross_entropy": (X, W, labels(), None, None, *options, [True, True, False]),
    }
    for name, arguments in calls.items():
        torch.library.opcheck(getattr(torch.ops.fastsoftmax, name), arguments)


def test_modules_have_pytorchs_arguments():
    """The modules are PyTorch's, with the same state and the same loss."""
    x = drawn(N_ROWS, N_CLASSES)
    for keywords in (
        {"weight": class_weight(), "label_smoothing": 0.1},
        {"reduction": "none", "ignore_index": 3},
    ):
        target = labels().clamp(min=0)
        own, theirs = (m.CrossEntropyLoss(**keywords) for m in (ours, torch.nn))
        assert isinstance(own, torch.nn.CrossEntropyLoss)
        torch.testing.assert_close(own(x, target), theirs(x, target))
    X = drawn(N_ROWS, N_FEATURES, dtype=torch.float32)
    for shape, bias in itertools.product([(), (2,)], [True, False]):
        own, theirs = (
            m.LinearCrossEntropyLoss(N_FEATURES, N_CLASSES, out_features=shape, bias=bias)
            for m in (ours, torch.nn)
        )
        own.load_state_dict(theirs.state_dict())
        target = torch.randint(0, N_CLASSES, (N_ROWS, *shape))
        torch.testing.assert_close(own(X, target), theirs(X, target))
        own(X, target).backward()
        theirs(X, target).backward()
        torch.testing.assert_close(own.linear.weight.grad, theirs.linear.weight.grad)


X23, T2 = torch.zeros(2, 3), torch.tensor([0, 1])


@pytest.mark.parametrize(
    "arguments",
    [
        (X23, torch.tensor([0, 9])),
        (X23, torch.tensor([0, 1, 2])),
        (X23, torch.tensor([0.0, 1.0])),
        (X23, torch.zeros(2, 3, dtype=torch.int64)),
        (X23, T2, torch.ones(2)),
        (torch.zeros(2, 3, 4), torch.zeros(2, 5, dtype=torch.int64)),
        (torch.zeros(2, 3, dtype=torch.int64), T2),
        ([[0.0]], T2),
    ],
)
def test_errors_are_of_pytorchs_kind(arguments):
    """What PyTorch refuses is refused with the same kind of exception."""
    with pytest.raises(Exception) as theirs:
        reference.cross_entropy(*arguments)
    with pytest.raises(theirs.type):
        ours.cross_entropy(*arguments)


def test_options_that_do_not_fit_are_refused():
    """Reductions, smoothings and dimensions outside their range, and tensors that are elsewhere."""
    for keywords in ({"reduction": "all"}, {"label_smoothing": 2.0}):
        with pytest.raises(Exception) as theirs:
            reference.cross_entropy(X23, T2, **keywords)
        with pytest.raises(theirs.type):
            ours.cross_entropy(X23, T2, **keywords)
    with pytest.raises(ValueError, match="softcap"):
        ours.cross_entropy(X23, T2, softcap=-1.0)
    with pytest.raises(IndexError, match="Dimension out of range"):
        ours.softmax(X23, 2)
    with pytest.raises(NotImplementedError, match="on meta"):
        ours.softmax(X23.to("meta"), 1)
    with pytest.raises(NotImplementedError, match="strided"):
        ours.softmax(X23.to_sparse(), 1)
    with pytest.raises(RuntimeError, match="linear_weight"):
        ours.linear_cross_entropy(X23, torch.zeros(4, 4), T2)
    with pytest.raises(RuntimeError, match="one dtype"):
        ours.linear_cross_entropy(X23, torch.zeros(4, 3, dtype=torch.float64), T2)
    with pytest.raises(IndexError, match="out of bounds"):
        ours.linear_cross_entropy(X23, torch.zeros(2, 3), T2 + 1)
    with pytest.raises(ValueError, match="NaN"):
        ours.linear_cross_entropy(X23 / 0.0, torch.zeros(2, 3), T2)


def test_narrow_tensors_are_numpys_without_a_copy():
    """Views of bfloat16 tensors of any strides share their memory with the array of them."""
    from fastsoftmax.backends.torch.tensors import array_of, tensor_of

    tensor = torch.arange(12.0).reshape(3, 4).bfloat16()
    array = array_of(tensor[:, ::2])
    tensor[0, 2] = 7.0
    assert float(array[0, 1]) == 7.0
    assert torch.equal(tensor_of(np.ascontiguousarray(array)), tensor[:, ::2])


def test_numpys_functions_take_tensors_and_give_them_back():
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    found = fastsoftmax.softmax(x, axis=1)
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), fastsoftmax.softmax(x.numpy(), axis=1))
    narrow = fastsoftmax.log_softmax(x.bfloat16(), axis=1)
    assert narrow.dtype == torch.bfloat16
    assert isinstance(fastsoftmax.logsumexp(x), torch.Tensor)
    with pytest.raises(TypeError, match=r"fastsoftmax\.torch"):
        fastsoftmax.softmax(x.clone().requires_grad_(), axis=1)
    with torch.no_grad():
        fastsoftmax.softmax(x.clone().requires_grad_(), axis=1)
    with pytest.raises(TypeError, match="no array of numbers"):
        fastsoftmax.softmax(x.to_sparse(), axis=1)
