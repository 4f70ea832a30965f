"""What failed, later: the queue of failed and pending work, its processor, and dead letters sent again."""
