"""The values that register `users`, where the worker owns them, and the contest over what accounts are called."""

from projections.account.document import CLAIMED, FOLDED_PATHS, UserDocument
from projections.account.fold import EFFECTS, PROJECTION_VERSION, USER_FOLD, adopted_at, apply, has_begun
from projections.claims import claims_contest
from projections.event import read_paths
from projections.kinds import Rules, StreamProjection, Target

USERS = StreamProjection(
    name="users",
    version=PROJECTION_VERSION,
    about=("user",),
    target=Target("users", (UserDocument,)),
    paths=FOLDED_PATHS,
    fold=USER_FOLD.fold,
    refold=USER_FOLD.refold,
    event_paths=read_paths(None, ()),
    rules=Rules(apply, EFFECTS),
    begun=has_begun,
    adopted=adopted_at,
)

USER_CLAIMS = claims_contest("user_claims", USERS.name, CLAIMED)
