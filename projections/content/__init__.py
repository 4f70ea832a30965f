"""Documents about what is taught: courses, and what they are made of."""
