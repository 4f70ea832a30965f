"""The value that registers `course_versions`: a course's versions, each with its snapshot, and their history."""

from projections.content.versions.document import (
    HISTORY_PATHS,
    VERSION_PATHS,
    CourseVersion,
    VersionHistory,
)
from projections.content.versions.fold import VERSIONS_FOLD, has_begun, named
from projections.content.versions.history import REASONS
from projections.content.versions.snapshots import make
from projections.event import read_paths
from projections.kinds import Index, Parts, StreamProjection, Target

# Of a course's events the history is made of these; a curriculum is none of them.
_READ = (
    "version",
    "rollback_version",
    "summary",
    "created_by",
    "approved_by",
    "migration_required",
)
# Of an opening, which is a person's own words as a whole.
_OPENED = "personal.details.record"

COURSE_VERSIONS = StreamProjection(
    name="course_versions",
    version=VERSIONS_FOLD.version,
    about=("course",),
    target=Target(
        collection="version_history",
        shapes=(VersionHistory,),
        indexes=(
            Index(
                "version_history",
                "idx_version_history_entity",
                (("entity_type", 1), ("entity_id", 1)),
                {"unique": True},
            ),
        ),
    ),
    paths=HISTORY_PATHS,
    fold=VERSIONS_FOLD.fold,
    refold=VERSIONS_FOLD.refold,
    event_paths=(*read_paths(_READ, ()), _OPENED),
    reasons=REASONS,
    begun=has_begun,
    parts=Parts(
        target=Target(
            collection="course_versions",
            shapes=(CourseVersion,),
            indexes=(
                Index(
                    "course_versions",
                    "idx_course_versions_course_version",
                    (("course_id", 1), ("version", 1)),
                    {"unique": True},
                ),
                Index("course_versions", "idx_course_versions_stream", (("stream_id", 1),)),
            ),
        ),
        paths=VERSION_PATHS,
        named=named,
        make=make,
        event_paths=read_paths(None, ()),
    ),
)
