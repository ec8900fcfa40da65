"""Running notebooks: typed parameters, kernels, runs, sweeps, verification, a workspace."""
