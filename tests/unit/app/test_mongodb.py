"""What MongoDB refuses is told with the setting to look at, once."""

from pymongo.errors import OperationFailure

from worker.app.mongodb import with_setting_hint
from worker.errors import Misconfigured


def test_a_refused_login_names_its_settings_once_however_often_it_is_explained() -> None:
    error = Misconfigured("Authentication failed.")
    error.__cause__ = OperationFailure("Authentication failed.", 18)
    once = with_setting_hint(error)
    once.__cause__ = error
    assert str(with_setting_hint(once)).count("SEVENP_MONGODB_USERNAME") == 1
