"""Cubes from full arrays: a test says what stands in every cell, (arms, strata, buckets) or with months behind."""

from dataclasses import replace

import numpy as np

from experiments.data.randomise import BUCKETS
from experiments.metrics.cube import Cube


def full_sums(cube):
    """Return every sum of a cube as a full array: {name: array}."""
    return {name: cube.full(name) for name in cube.sums}


def with_sums(cube, **full):
    """Return the cube with other full arrays in the place of some sums."""
    return folded(replace(cube, sums={}), full_sums(cube) | full)


def folded(cube, full):
    """Return the cube with the cells of these full arrays that hold anything."""
    flat = {name: array.reshape(len(cube.arms) * len(cube.strata) * BUCKETS, *array.shape[3:])
            for name, array in full.items()}  # fmt: skip
    filled = np.any([(array != 0).reshape(len(array), -1).any(axis=1) for array in flat.values()], axis=0)
    cells = np.flatnonzero(filled)
    return replace(cube, cells=cells, sums={name: np.array(array[cells]) for name, array in flat.items()})


def cube_of(*, arms, strata, **full):
    """Return a cube of full arrays; its buckets are filled up with nobody."""
    empty = Cube(arms=arms, strata=strata, dated=True, contacts_known=True, margin_share=1.0,
                 cells=np.zeros(0, np.int64), sums={})  # fmt: skip
    more = {name: [(0, 0), (0, 0), (0, BUCKETS - array.shape[2]), *[(0, 0)] * (array.ndim - 3)]
            for name, array in full.items()}  # fmt: skip
    return folded(empty, {name: np.pad(array, more[name]) for name, array in full.items()})
