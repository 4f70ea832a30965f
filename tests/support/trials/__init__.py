"""What trials share: a system of their own under load, commands that are killed, what was measured, and the judge."""
