"""Quantiles of depths are the very numbers that NumPy gives."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forge_assets.scenes.depth_quantiles import QUANTILES, quantiles

DEPTHS = arrays(np.float32, st.integers(1, 60), elements=st.floats(0.125, 1024, width=32))


@given(DEPTHS)
def test_quantiles_are_those_of_numpy_to_the_last_bit(depths):
    np.testing.assert_array_equal(quantiles(depths), np.quantile(depths, QUANTILES))
