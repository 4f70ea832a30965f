"""The oracle's own test: a right run of the worker, made with the worker's code, and known bugs that damage it."""
