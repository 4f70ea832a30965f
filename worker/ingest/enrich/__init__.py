"""What ingest adds to a learner's event: the course's curriculum and the learner's time zone, as known then."""
