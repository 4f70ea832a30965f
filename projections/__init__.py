"""Pure folds from events to documents: no I/O, no clock, no randomness."""
