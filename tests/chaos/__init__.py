"""Faults on purpose: the real worker in a child process, killed at chosen points of its real traffic."""
