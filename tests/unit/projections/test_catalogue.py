"""What is registered is whole: a name of its own, a version, collections of its own, and no import side effects."""

from projections.catalogue import CATALOGUE, PROJECTIONS
from worker.storage.database import COLLECTIONS
from worker.storage.indexes import INDEXES
from worker.storage.models import MODELS


def test_names_are_unique_and_versions_set() -> None:
    assert len(set(CATALOGUE.names)) == len(PROJECTIONS)
    assert all(each.name.isidentifier() and each.version >= 1 for each in PROJECTIONS)


def test_each_collection_is_written_by_one_projection_and_has_shape_and_indexes() -> None:
    targets = CATALOGUE.targets
    assert len({target.collection for target in targets}) == len(targets)
    for target in targets:
        assert COLLECTIONS[target.collection] == target.database
        assert MODELS[target.collection] == target.shapes
        assert all(index in INDEXES for index in target.indexes)
        assert all(index.collection == target.collection for index in target.indexes)


def test_what_is_counted_is_made_by_a_registered_projection() -> None:
    streams = {each.name for each in CATALOGUE.streams}
    assert all(each.source in streams for each in CATALOGUE.sums)
