"""Sum projections: documents in, statistics and unique rows that equal their sum out, in one transaction."""
