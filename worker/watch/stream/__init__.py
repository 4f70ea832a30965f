"""A change stream as every follower needs it: cursor, resume token, checkpoint, liveness, oplog window."""
