"""THE registration: whatever is not in this tuple does not exist for the worker."""

from projections.counts.projection import COUNTS
from projections.kinds import Catalogue, Projection
from projections.progress.projection import PROGRESS

PROJECTIONS: tuple[Projection, ...] = (PROGRESS, COUNTS)

CATALOGUE = Catalogue(PROJECTIONS)
