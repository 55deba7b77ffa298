"""The oracle: scalar loops over Python floats with math.fsum, slow and plain; it imports nothing of ours.

Where digits matter there is an `_exact` twin computed by mpmath with 60 digits and rounded once at the end.
Matrices are anything that can be indexed `A[i][k]`; results are lists of floats.
"""

from __future__ import annotations

import math

import mpmath

DIGITS = 60
NO_TARGET = None  # what an ignored row has in place of a target


def logsumexp(row):
    """Log of the sum of the exponentials of a row; -inf for an empty one."""
    top = max(map(float, row), default=-math.inf)
    if math.isinf(top):
        return top
    return top + math.log(math.fsum(math.exp(float(v) - top) for v in row))


def log_softmax(row):
    """Logarithms of the softmax of a row, as (v - max) - log(sum): which loses no digits to the shift."""
    top = max(map(float, row))
    shift = math.log(math.fsum(math.exp(float(v) - top) for v in row))
    return [(float(v) - top) - shift for v in row]


def softmax(row):
    """Softmax of a row."""
    top = max(map(float, row))
    powers = [math.exp(float(v) - top) for v in row]
    total = math.fsum(powers)
    return [p / total for p in powers]


def sigmoid(v):
    """1 / (1 + exp(-v)) without overflow."""
    return 1 / (1 + math.exp(-v)) if v >= 0 else math.exp(v) / (1 + math.exp(v))


def softplus(v):
    """log(1 + exp(v)) without overflow."""
    return max(v, 0.0) + math.log1p(math.exp(-abs(v)))


def exp_exact(x):
    """Exponential of a float, correctly rounded to float64."""
    with mpmath.workdps(DIGITS):
        return float(mpmath.exp(mpmath.mpf(float(x))))


def _mp_lse(row):
    return mpmath.log(mpmath.fsum(mpmath.exp(v) for v in row))


def logsumexp_exact(row):
    """Log of the sum of the exponentials of a row, correctly rounded to float64."""
    with mpmath.workdps(DIGITS):
        return float(_mp_lse([mpmath.mpf(float(v)) for v in row]))


def log_softmax_exact(row):
    """Logarithms of the softmax of a row, correctly rounded to float64."""
    with mpmath.workdps(DIGITS):
        row = [mpmath.mpf(float(v)) for v in row]
        lse = _mp_lse(row)
        return [float(v - lse) for v in row]


def softmax_exact(row):
    """Softmax of a row, correctly rounded to float64."""
    with mpmath.workdps(DIGITS):
        row = [mpmath.mpf(float(v)) for v in row]
        lse = _mp_lse(row)
        return [float(mpmath.exp(v - lse)) for v in row]


def matmul(A, B):
    """Product of two matrices given by rows."""
    columns = list(zip(*B))
    return [[math.fsum(float(a) * float(b) for a, b in zip(row, col)) for col in columns] for row in A]


def transpose(A):
    """Rows of the transposed matrix."""
    return [list(col) for col in zip(*A)]


def linear(X, coef, intercept=None):
    """Logits X coefᵀ + intercept, row by row, rounded once."""
    b = [0.0] * len(coef) if intercept is None else intercept
    return [
        [math.fsum([*(float(x) * float(w) for x, w in zip(row, ws)), float(c)]) for ws, c in zip(coef, b)]
        for row in X
    ]


def _probabilities(t, n_classes, soft, ignore_index):
    """Target distribution of a row before smoothing; NO_TARGET for an ignored row."""
    if soft:
        return [float(v) for v in t]
    if int(t) == ignore_index:
        return NO_TARGET
    return [1.0 if k == int(t) else 0.0 for k in range(n_classes)]


def _row_weights(p, class_weight, smoothing):
    """What each -log p_k is multiplied with: class weight times smoothed target."""
    n = len(p)
    return [w * ((1 - smoothing) * q + smoothing / n) for w, q in zip(class_weight, p)]


def cross_entropy_rows(
    logits,
    target,
    *,
    soft=False,
    class_weight=None,
    sample_weight=None,
    ignore_index=-100,
    label_smoothing=0.0,
    z_loss=0.0,
    softcap=None,
):
    """Loss, z-loss, their two gradients and their two shares of the denominators: one tuple a row.

    PyTorch's F.cross_entropy. With index targets a row's share of the denominator is its class weight, with
    soft targets it is one; an ignored row has losses, gradients and shares of zero. The z-loss knows no class
    weight and is averaged over the rows counted, as in Liger Kernel. `sample_weight` multiplies all of them.
    """
    out = []
    for i, (row, t) in enumerate(zip(logits, target)):
        row = [float(v) for v in row]
        n = len(row)
        s = 1.0 if sample_weight is None else float(sample_weight[i])
        w = [1.0] * n if class_weight is None else [float(v) for v in class_weight]
        p = _probabilities(t, n, soft, ignore_index)
        if p is NO_TARGET or s == 0.0:
            out.append((0.0, 0.0, [0.0] * n, [0.0] * n, 0.0, 0.0))
            continue
        z = row if softcap is None else [softcap * math.tanh(v / softcap) for v in row]
        chain = [1.0] * n if softcap is None else [1 - math.tanh(v / softcap) ** 2 for v in row]
        lse, logp, q = logsumexp(z), log_softmax(z), softmax(z)
        a = _row_weights(p, w, label_smoothing)
        loss = math.fsum(-b * v for b, v in zip(a, logp) if b != 0.0)
        total = math.fsum(a)
        grad = [s * c * (v * total - b) for c, v, b in zip(chain, q, a)]
        z_grad = [s * c * 2 * z_loss * lse * v for c, v in zip(chain, q)]
        share = 1.0 if soft else w[int(t)]
        out.append((s * loss, s * z_loss * lse * lse, grad, z_grad, s * share, s))
    return out


def _divide(a, b):
    return a / b if b else math.nan


def _reduce(rows, reduction):
    """Value and gradient of the sum, the mean or the list of the row losses."""
    if reduction == "none":
        return [r[0] + r[1] for r in rows], [[a + b for a, b in zip(r[2], r[3])] for r in rows]
    loss, z_loss = math.fsum(r[0] for r in rows), math.fsum(r[1] for r in rows)
    if reduction == "sum":
        return loss + z_loss, [[a + b for a, b in zip(r[2], r[3])] for r in rows]
    over, z_over = math.fsum(r[4] for r in rows), math.fsum(r[5] for r in rows)
    value = _divide(loss, over) + (_divide(z_loss, z_over) if z_loss else 0.0)
    # A row without loss has no gradient even where the mean is 0/0, as in PyTorch.
    grad = [
        [(a / over if over else 0.0) + (b / z_over if z_over else 0.0) for a, b in zip(r[2], r[3])]
        for r in rows
    ]
    return value, grad


def cross_entropy(logits, target, *, reduction="mean", **options):
    """Cross-entropy of (n, K) logits in nats and its gradient with respect to them."""
    return _reduce(cross_entropy_rows(logits, target, **options), reduction)


def sigmoid_cross_entropy(logits, target, *, class_weight=None, sample_weight=None, reduction="mean"):
    """Multi-label cross-entropy (summed over labels, averaged over rows) and its gradient."""
    rows = []
    for i, (row, t) in enumerate(zip(logits, target)):
        row, t = [float(v) for v in row], [float(v) for v in t]
        s = 1.0 if sample_weight is None else float(sample_weight[i])
        w = [1.0] * len(row) if class_weight is None else [float(v) for v in class_weight]
        # -t log σ(v) - (1 - t) log(1 - σ(v)), each logarithm a softplus
        loss = math.fsum(c * (y * softplus(-v) + (1 - y) * softplus(v)) for c, v, y in zip(w, row, t))
        grad = [s * c * (sigmoid(v) - y) for c, v, y in zip(w, row, t)]
        rows.append((s * loss, 0.0, grad, [0.0] * len(row), s, s))
    return _reduce(rows, reduction)


def objective(X, target, coef, intercept, *, l2=0.0, sample_weight=None, loss="softmax", **options):
    """F = Σ w l / Σ w + l2/2 ‖coef‖² and its gradient (coef, intercept)."""
    of = {"softmax": cross_entropy, "sigmoid": sigmoid_cross_entropy}[loss]
    logits = linear(X, coef, intercept)
    n_rows = len(logits)
    weight = [1.0] * n_rows if sample_weight is None else [float(v) for v in sample_weight]
    value, residual = of(logits, target, sample_weight=weight, reduction="sum", **options)
    total = math.fsum(weight)
    # A row of weight zero is not looked at: its features may be anything finite.
    g_coef = matmul(transpose(residual), X)
    g_coef = [[g / total + l2 * float(w) for g, w in zip(gs, ws)] for gs, ws in zip(g_coef, coef)]
    g_intercept = [math.fsum(col) / total for col in transpose(residual)]
    penalty = l2 / 2 * math.fsum(float(w) ** 2 for ws in coef for w in ws)
    return value / total + penalty, g_coef, g_intercept


def hessp(X, coef, intercept, v_coef, v_intercept, *, l2=0.0, sample_weight=None, loss="softmax"):
    """Hessian of F times a direction (v_coef, v_intercept); labels do not enter it."""
    logits, shifts = linear(X, coef, intercept), linear(X, v_coef, v_intercept)
    weight = [1.0] * len(logits) if sample_weight is None else [float(v) for v in sample_weight]
    total = math.fsum(weight)
    curved = []
    for w, z, u in zip(weight, logits, shifts):
        if loss == "softmax":
            p = softmax(z)
            mean = math.fsum(a * b for a, b in zip(p, u))
            curved.append([w * a * (b - mean) for a, b in zip(p, u)])
        else:
            curved.append([w * sigmoid(a) * sigmoid(-a) * b for a, b in zip(z, u)])
    h_coef = matmul(transpose(curved), X)
    h_coef = [[h / total + l2 * float(v) for h, v in zip(hs, vs)] for hs, vs in zip(h_coef, v_coef)]
    return h_coef, [math.fsum(col) / total for col in transpose(curved)]


def elastic_net_penalty(coef, strength, l1_ratio, weights=None, grouped=False):
    """s [(1 − α)/2 Σ p W² + α Σ p |W|]; grouped: the second sum is Σⱼ pⱼ ‖W·ⱼ‖₂. `weights` p are (K, d)."""
    p = [[1.0] * len(ws) for ws in coef] if weights is None else weights
    squares = math.fsum(q * float(w) ** 2 for qs, ws in zip(p, coef) for q, w in zip(qs, ws))
    if grouped:
        sizes = [q * math.hypot(*map(float, ws)) for q, ws in zip(p[0], transpose(coef))]
    else:
        sizes = [q * abs(float(w)) for qs, ws in zip(p, coef) for q, w in zip(qs, ws)]
    return strength * ((1 - l1_ratio) / 2 * squares + l1_ratio * math.fsum(sizes))


def _shrunk(values, thresholds, grouped):
    """Proximal map of thresholds · |values|, or of thresholds[0] · ‖values‖₂ if grouped."""
    if not grouped:
        return [math.copysign(max(abs(v) - t, 0.0), v) for v, t in zip(values, thresholds)]
    size = math.hypot(*values)
    return [max(1 - thresholds[0] / size, 0.0) * v if size else 0.0 for v in values]


def elastic_net_kkt(X, target, coef, intercept, strength, l1_ratio, weights=None, grouped=False, **options):
    """Norm of the shortest subgradient of the mean loss plus `elastic_net_penalty`, intercept included."""
    p = [[1.0] * len(ws) for ws in coef] if weights is None else weights
    free = options.pop("fit_intercept", True)
    _, g_coef, g_intercept = objective(X, target, coef, intercept, **options)
    rest = [*g_intercept] if free else []
    for qs, gs, ws in zip(*(transpose(m) for m in (p, g_coef, coef))):  # a feature at a time
        ws = [float(w) for w in ws]
        smooth = [g + strength * (1 - l1_ratio) * q * w for g, q, w in zip(gs, qs, ws)]
        t = [strength * l1_ratio * q for q in qs]
        if grouped:
            size = math.hypot(*ws)
            moved = [g + t[0] * w / size for g, w in zip(smooth, ws)] if size else _shrunk(smooth, t, True)
        else:
            moved = [
                g + math.copysign(s, w) if w else _shrunk([g], [s], False)[0]
                for g, s, w in zip(smooth, t, ws)
            ]
        rest += moved
    return math.hypot(*rest)


def elastic_net(
    X,
    target,
    n_outputs,
    strength,
    l1_ratio,
    *,
    weights=None,
    grouped=False,
    fit_intercept=True,
    n_steps=3000,
    loss="softmax",
    **options,
):
    """Least mean loss plus `elastic_net_penalty`: F, coef, intercept, by FISTA [1]_ with restarts [2]_.

    .. [1] A. Beck, M. Teboulle, SIAM J. Imaging Sciences 2 (2009).
    .. [2] B. O'Donoghue, E. Candès, Found. Comput. Math. 15 (2015): the scheme by gradients.
    """
    d = len(X[0])
    p = [[1.0] * d for _ in range(n_outputs)] if weights is None else weights
    row_weight = options.get("sample_weight") or [1.0] * len(X)
    lengths = [math.fsum([*(float(v) ** 2 for v in row), 1.0]) for row in X]
    curvature = {"softmax": 0.5, "sigmoid": 0.25}[loss]
    bound = curvature * math.fsum(w * v for w, v in zip(row_weight, lengths)) / math.fsum(row_weight)
    bound += strength * (1 - l1_ratio) * max(max(qs) for qs in p)

    def stepped(coef, intercept):
        _, g_coef, g_intercept = objective(X, target, coef, intercept, loss=loss, **options)
        columns = []
        for qs, gs, ws in zip(*(transpose(m) for m in (p, g_coef, coef))):
            moved = [w - (g + strength * (1 - l1_ratio) * q * w) / bound for w, g, q in zip(ws, gs, qs)]
            columns.append(_shrunk(moved, [strength * l1_ratio * q / bound for q in qs], grouped))
        return transpose(columns), [b - g * fit_intercept / bound for b, g in zip(intercept, g_intercept)]

    coef, intercept = [[0.0] * d for _ in range(n_outputs)], [0.0] * n_outputs
    ahead, t = (coef, intercept), 1.0
    for _ in range(n_steps):
        new = stepped(*ahead)
        before, flat, reached = ([w for ws in a for w in ws] + b for a, b in ((coef, intercept), new, ahead))
        if math.fsum((y - z) * (z - x) for x, z, y in zip(before, flat, reached)) > 0:
            ahead, t = (coef, intercept), 1.0  # the momentum leads uphill
            continue
        if max(abs(z - y) for z, y in zip(flat, reached)) < 1e-15:
            break
        t_new = (1 + math.sqrt(1 + 4 * t * t)) / 2
        m = (t - 1) / t_new
        ahead = (
            [[z + m * (z - x) for z, x in zip(zs, xs)] for zs, xs in zip(new[0], coef)],
            [z + m * (z - x) for z, x in zip(new[1], intercept)],
        )
        (coef, intercept), t = new, t_new
    value = objective(X, target, coef, intercept, loss=loss, **options)[0]
    return value + elastic_net_penalty(coef, strength, l1_ratio, weights, grouped), coef, intercept


def class_probabilities(row, contrasts, loss="softmax"):
    """Probabilities of all classes, the base first, of a row of terms; for sigmoids, of each label."""
    logits = [math.fsum(float(a) * float(b) for a, b in zip(of_class, row)) for of_class in contrasts]
    return [sigmoid(z) for z in logits] if loss == "sigmoid" else softmax([0.0, *logits])


def scores(terms, target, contrasts, sample_weight=None, loss="softmax"):
    """Gradient of each row's log-likelihood by the contrasts, flat; target rows are shares of all classes."""
    weights = [1.0] * len(terms) if sample_weight is None else sample_weight
    first = 0 if loss == "sigmoid" else 1
    return [
        [w * (float(t) - p) * float(x) for p, t in list(zip(proba, of_row))[first:] for x in row]
        for row, of_row, w in zip(terms, target, weights)
        for proba in [class_probabilities(row, contrasts, loss)]
    ]


def information(terms, contrasts, sample_weight=None, loss="softmax"):
    """Minus the Hessian of the log-likelihood by the contrasts, class after class."""
    m, q = len(contrasts), len(contrasts[0])
    weights = [1.0] * len(terms) if sample_weight is None else sample_weight
    first = 0 if loss == "sigmoid" else 1
    parts = [[[] for _ in range(m * q)] for _ in range(m * q)]
    for row, w in zip(terms, weights):
        p = class_probabilities(row, contrasts, loss)[first:]
        for k in range(m):
            for r in range(m):
                if loss == "sigmoid" and k != r:
                    continue
                curvature = p[k] * ((k == r) - p[r])
                for j in range(q):
                    for i in range(q):
                        parts[k * q + j][r * q + i].append(
                            float(w) * curvature * float(row[j]) * float(row[i])
                        )
    return [[math.fsum(part) for part in line] for line in parts]


def marginal_effects(terms, contrasts, n_constants, sample_weight=None, loss="softmax"):
    """Mean derivative of each probability by each feature, of all classes, the base first."""
    weights = [1.0] * len(terms) if sample_weight is None else [float(w) for w in sample_weight]
    total, found = math.fsum(weights), []
    betas = [list(line) for line in contrasts]
    if loss != "sigmoid":
        betas.insert(0, [0.0] * len(betas[0]))
    each = [class_probabilities(row, contrasts, loss) for row in terms]
    for k in range(len(betas)):
        effects = []
        for j in range(n_constants, len(betas[0])):
            slopes = []
            for p, w in zip(each, weights):
                rest = (
                    p[k] * betas[k][j] if loss == "sigmoid" else math.fsum(a * b[j] for a, b in zip(p, betas))
                )
                slopes.append(w * p[k] * (betas[k][j] - rest))
            effects.append(math.fsum(slopes) / total)
        found.append(effects)
    return found
