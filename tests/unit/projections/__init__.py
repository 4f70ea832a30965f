"""The folds as pure functions: examples of every effect, and properties over any order of arrival."""
