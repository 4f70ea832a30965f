"""Simulated learners: what they will have done, and the events that must lead to it."""
