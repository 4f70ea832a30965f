"""The account of a user, folded from what happens to it."""
