"""A document of the platform's that makes no sense to the worker."""


class Unfit(ValueError):
    """In words that name the field, and hold no value of it."""
