"""Adoption: the platform's own records of learners become the worker's, each by one opening event of its stream."""
