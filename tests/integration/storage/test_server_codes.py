"""The table of codes held against what a real server calls each code."""

from bson import ObjectId
from pymongo.errors import AutoReconnect, OperationFailure

from tests.conftest import RunningMongo
from worker.storage import driver
from worker.storage.database import Client, make_client
from worker.storage.server_codes import SERVER_CODES

# With these the server insists on more than the number, ends, or is taken for one that ended.
_NEED_MORE = frozenset(
    {65, 91, 121, 150, 169, 227, 236, 249, 271, 279, 283, 284, 304, 318, 320, 343, 346, 348}
)
_NEED_MORE |= {330, 331, 10058, 11600, 351, 372, 353, 356, 359, 361, 11000, 13388, 303, 354}


# The last of the numbers that this server gives out in a row.
_LAST = 375


async def test_every_code_the_server_has_a_name_for_is_in_the_table_under_that_name(
    mongodb: RunningMongo,
) -> None:
    known = {row.code: row.name for row in SERVER_CODES}
    asked = {*range(1, _LAST + 1), *(code for code in known if code > 4_000)} - _NEED_MORE
    name = f"codes-{ObjectId()}"
    client = make_client(mongodb.uri, application_name=name)
    try:
        said = {code: await _name_of(client, name, code) for code in sorted(asked)}
    finally:
        await client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})
        await driver.close(client)

    named = {code: each for code, each in said.items() if not each.startswith("Location")}
    assert {code: each for code, each in named.items() if known.get(code) != each} == {}
    assert {code for code in known if code <= _LAST} - named.keys() - _NEED_MORE == set()


async def _name_of(client: Client, application: str, code: int) -> str:
    data = {"failCommands": ["ping"], "appName": application, "errorCode": code}
    await client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data})
    try:
        await client.admin.command("ping")
    except (OperationFailure, AutoReconnect) as failure:
        details = failure.details
        return str(details.get("codeName")) if isinstance(details, dict) else "no answer"
    raise AssertionError(f"no refusal with code {code}")
