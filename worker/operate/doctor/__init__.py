"""The doctor: what is wrong with a set-up, in named findings, each with what mends it.

A finding is a file here, registered in `catalogue`. It reads, and changes nothing.
"""
