"""From the outbox to the world: each required notification reaches its receiver at least once, in equal bytes."""
