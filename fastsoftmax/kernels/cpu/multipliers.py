"""From a tile of logits to what its rows are multiplied by on the way back."""

from __future__ import annotations

from fastsoftmax.kernels import compensated
from fastsoftmax.kernels.cpu.verbs import apply, apply_together
from fastsoftmax.kernels.jit import jit


@jit
def multipliers(verb, loss, logits, start, stop, intercept, kept, target, weight, row_values, first):
    """Turn rows start to stop of the last of `logits` (m, …, K), without intercepts, into multipliers.

    They are weighted. Returns Σ wᵢ ℓᵢ and what its rounding has lost. `first` is where row `start` is in
    `kept`, `target`, `weight` and `row_values`; `kept` (n, K), where it is not empty, holds the logits of the
    first map.
    """
    n_maps, _, n_outputs = logits.shape
    n_rows = stop - start
    multiplier = logits[n_maps - 1, start:stop]
    value = 0.0
    lost = 0.0
    for m in range(n_maps):
        for i in range(n_rows):
            row = logits[m, start + i]
            if weight[first + i] == 0.0:
                row[:] = 0.0  # whatever the row of X holds, it is not looked at
            elif m == 0 and kept.size:
                row[:] = kept[first + i]
            else:
                for k in range(n_outputs):
                    row[k] += intercept[m, k]
    here = slice(first, first + n_rows)
    own_values = row_values[here] if row_values.size else row_values
    done, tile_value = apply_together(
        verb, loss, logits[0, start:stop], multiplier, target[here], weight[here], own_values
    )
    if done:
        return tile_value, lost
    for i in range(n_rows):
        row_weight = weight[first + i]
        s = multiplier[i]
        if row_weight == 0.0:
            s[:] = 0.0
            continue
        row_value = row_weight * apply(verb, loss, logits[0, start + i], s, target[first + i])
        value, lost = compensated.add(value, lost, row_value)
        if row_values.size:
            row_values[first + i] = row_value
        for k in range(n_outputs):
            s[k] *= row_weight
    return value, lost
