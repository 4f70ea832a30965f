"""Versions of courses: a document for each, with the course as it was, and one that tells of all of a course's."""
