#!/usr/bin/env bash
# np.unique of NumPy's own strings gives rows without a value the code of the last value.
#
# NumPy 2.4.2, scikit-learn 1.9.1, Python 3.11.
# Seen: for ["b", NaN, "a", NaN, "c"] with StringDType(na_object=NaN), np.unique(…, return_inverse=True) finds "a", "b" and
# "c", and its inverse is 1 2 0 2 2: the missing rows stand under "c". LabelEncoder passes that on.
# A guess that is wrong: that unique values, indexed by the inverse, are the array again, as documented; or that NaN is a
# value of its own, as it is for floats. Labels have to be asked for missing ones before they are encoded.
#
# Prints the values, the inverse, and LabelEncoder's codes. Fails if any of them changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.2 scikit-learn==1.9.1
"$folder/env/bin/python" - <<'CODE'
import numpy as np
from numpy.dtypes import StringDType
from sklearn.preprocessing import LabelEncoder

labels = np.array(["b", np.nan, "a", np.nan, "c"], dtype=StringDType(na_object=np.nan))
values, inverse = np.unique(labels, return_inverse=True)
codes = LabelEncoder().fit_transform(labels)
print(values.tolist(), inverse.tolist(), codes.tolist())
assert values.tolist() == ["a", "b", "c"]
assert inverse.tolist() == codes.tolist() == [1, 2, 0, 2, 2]
CODE
