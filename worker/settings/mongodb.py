"""MongoDB: where it is, who logs in, and which databases and collections are ours."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from worker.settings.addresses import File, mongodb_uri, of_secret
from worker.settings.group import Group, listed
from worker.settings.hosts import MongoAddress, mongo_address
from worker.settings.names import variable


class MongoDBSettings(Group, alias_generator="mongodb_{}".format):
    """How MongoDB is spoken to."""

    uri: Annotated[SecretStr, AfterValidator(of_secret(mongodb_uri))] = SecretStr(
        "mongodb://127.0.0.1:27017/?replicaSet=rs0"
    )
    """MongoDB replica set or sharded cluster. Secret: it may hold a password."""
    username: str | None = None
    """Who logs in to MongoDB, where the URI names nobody; empty for nobody."""
    password: SecretStr | None = None
    """The password. Secret."""
    auth_source: str | None = None
    """Database that user is defined in; empty means the URI's, or admin."""
    ca_file: File | None = None
    """Certificates that MongoDB is checked against; turns TLS on. The system's: tls=true in the URI."""
    database_prefix: str = Field(
        "education_platform", validation_alias="database_prefix", pattern=r"^[A-Za-z0-9_-]{1,48}$"
    )
    """Databases are called PREFIX_content, PREFIX_analytics, PREFIX_config."""
    external_collections: Annotated[frozenset[str], BeforeValidator(listed)] = Field(
        frozenset(), validation_alias="external_collections"
    )
    """Collections another service owns, separated by commas: used, never created or changed."""
    allow_test_commands: bool = Field(default=False, validation_alias="allow_test_commands")
    """Accept a mongod started with enableTestCommands. For tests only."""

    @property
    def address(self) -> MongoAddress:
        """What the URI says about the wire."""
        return mongo_address(self.uri.get_secret_value())

    def mistakes(self) -> Iterator[str]:
        """Half a login, and what the URI says otherwise."""
        yield from self.halves(
            ("username", "password"), ("password", "username"), ("auth_source", "username")
        )
        uri, ca_file, address = self.variable("uri"), self.variable("ca_file"), self.address
        if self.given("username") and address.user:
            yield f"{uri} names a user, and {self.variable('username')} does, too: one of them must go"
        if self.given("ca_file") and address.tls is False:
            yield f"{ca_file} turns TLS on, {uri} turns it off: one of them must go"
        elif self.given("ca_file") and "tlscafile" in address.options:
            yield f"{uri} has tlsCAFile, and {ca_file} is set, too: one of them must go"

    def exposed(self) -> Iterator[str]:
        """What leaves this machine unencrypted, or for somebody who is not checked."""
        uri, ca_file, address = self.variable("uri"), self.variable("ca_file"), self.address
        switch = f"or allow it by {variable('allow_plaintext')}=true"
        if address.elsewhere is None:
            return
        if not (address.tls or self.given("ca_file")):
            yield (
                f"{uri} names {address.elsewhere}, which is not this machine, and everything would be sent to it "
                f"unencrypted: add tls=true to it or set {ca_file}, {switch}"
            )
        elif address.unchecked is not None:
            yield (
                f"{uri} has {address.unchecked}: whoever answers for {address.elsewhere} would be believed; "
                f"take it out and set {ca_file}, {switch}"
            )
