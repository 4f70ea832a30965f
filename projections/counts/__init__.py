"""The `counts` projection: what each learner adds to the statistics of courses, users and instructors."""

from projections.counts.activity import ActivityEntry, is_crowded, last_enrolments, merged_log
from projections.counts.counted import LEARNING, NAMES, TEACHING, Counted, sums_in, vector
from projections.counts.learner import COUNTS_VERSION, Milestone, Step, count_learner, milestones_of
from projections.counts.statistics import course_stats, user_stats
from projections.counts.teaching import Taught, Teaching, social_proof, teaching_in

__all__ = [
    "COUNTS_VERSION",
    "LEARNING",
    "NAMES",
    "TEACHING",
    "ActivityEntry",
    "Counted",
    "Milestone",
    "Step",
    "Taught",
    "Teaching",
    "count_learner",
    "course_stats",
    "is_crowded",
    "last_enrolments",
    "merged_log",
    "milestones_of",
    "social_proof",
    "sums_in",
    "teaching_in",
    "user_stats",
    "vector",
]
