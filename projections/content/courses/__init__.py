"""Courses: from the events of a course to the document that everybody reads."""
