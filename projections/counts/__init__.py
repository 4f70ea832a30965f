"""The `counts` projection: what each learner adds to the statistics of courses, users and instructors."""

from projections.counts.activity import ActivityEntry, is_crowded, last_enrolments, merged_log
from projections.counts.counted import LEARNING, NAMES, TEACHING, Counted, sums_in, vector
from projections.counts.learner import COUNTS_VERSION, Milestone, Step, Versions, count_learner, milestones_of
from projections.counts.payments import Payment, payment_in
from projections.counts.statistics import course_stats, user_stats

__all__ = [
    "COUNTS_VERSION",
    "LEARNING",
    "NAMES",
    "TEACHING",
    "ActivityEntry",
    "Counted",
    "Milestone",
    "Payment",
    "Step",
    "Versions",
    "count_learner",
    "course_stats",
    "is_crowded",
    "last_enrolments",
    "merged_log",
    "milestones_of",
    "payment_in",
    "sums_in",
    "user_stats",
    "vector",
]
