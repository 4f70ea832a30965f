"""One event followed from its record to everything that was made of it."""
