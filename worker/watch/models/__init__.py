"""Read models: a dirty key becomes a rebuilt view."""
