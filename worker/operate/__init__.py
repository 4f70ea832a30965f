"""What operators ask of the whole set-up, and what they steer while it runs."""
