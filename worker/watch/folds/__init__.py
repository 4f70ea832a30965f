"""Stream projections: dirty streams in, documents that equal the fold of their events out."""
