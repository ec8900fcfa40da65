"""One query folds customers into the cube; every estimand is a function of its sums."""
