"""THE registration: whatever is not in this tuple does not exist for the worker."""

from collections.abc import Set

from projections.account.projection import USER_CLAIMS, USERS
from projections.billing import BILLING
from projections.billing.revenue import REVENUE
from projections.claims import claims_contest
from projections.content.blocks import CONTENT_BLOCKS
from projections.content.courses.projection import COURSES
from projections.content.lessons import LESSON_CONTENT
from projections.content.relationships import CONTENT_CYCLES, CONTENT_RELATIONSHIPS
from projections.content.versions.projection import COURSE_VERSIONS
from projections.content.workflow import CONTENT_WORKFLOW
from projections.counts.projection import COUNTS
from projections.kinds import Catalogue, Contest, Projection, StreamProjection, SumProjection
from projections.progress.projection import PROGRESS
from projections.promotions import PROMOTIONS

COURSE_CLAIMS = claims_contest("course_claims", COURSES.name, ("slug",))

PROJECTIONS: tuple[Projection, ...] = (
    PROGRESS,
    COUNTS,
    BILLING,
    REVENUE,
    PROMOTIONS,
    COURSES,
    COURSE_CLAIMS,
    COURSE_VERSIONS,
    USERS,
    USER_CLAIMS,
    LESSON_CONTENT,
    CONTENT_BLOCKS,
    CONTENT_RELATIONSHIPS,
    CONTENT_CYCLES,
    CONTENT_WORKFLOW,
)

SHARED: frozenset[str] = frozenset({"courses", "users"})
"""Collections that the platform may keep by itself: then of their documents only the sums are the worker's."""


def catalogue_for(owned: Set[str]) -> Catalogue:
    """The projections of a process that owns these of the shared collections.

    What is made from documents that nobody here makes falls out with them.
    """
    ours = tuple(each for each in PROJECTIONS if not _is_others(each, owned))
    streams = {each.name for each in ours if isinstance(each, StreamProjection)}
    return Catalogue(tuple(each for each in ours if _source(each) in (None, *streams)))


def _is_others(projection: Projection, owned: Set[str]) -> bool:
    """Whether it makes the documents of a collection that the platform keeps by itself."""
    return isinstance(projection, StreamProjection) and projection.target.collection in SHARED - owned


def _source(projection: Projection) -> str | None:
    return projection.source if isinstance(projection, SumProjection | Contest) else None


CATALOGUE = catalogue_for(frozenset())
"""The projections where the platform keeps all of the shared collections: so it is unless somebody says otherwise."""

EVERY = Catalogue(PROJECTIONS)
"""All projections there are, whoever owns what."""
