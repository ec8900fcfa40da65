"""Statistics without a sheet and without SQL: intervals, power, survival, meta-analysis."""
