"""Measurements: what is promised in numbers is measured here, on the real parts, by a command anybody can repeat."""
