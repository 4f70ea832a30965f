"""Kafka: where the brokers are, how they are spoken to, and which consumer group this worker is a member of."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from worker.settings.addresses import File, brokers
from worker.settings.group import Group
from worker.settings.hosts import hosts_of, is_loopback
from worker.settings.names import variable

Milliseconds = Annotated[int, Field(gt=0, le=3_600_000)]
# Decoding gives the loop its turn every 20 ms or so, a broker under load answers within hundreds.
_SHORTEST_SESSION_MS = 1_000


class KafkaSettings(Group, alias_generator="kafka_{}".format):
    """How Kafka is spoken to."""

    bootstrap_servers: Annotated[str, AfterValidator(brokers)] = "127.0.0.1:9092"
    """Kafka brokers, host:port separated by commas."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How brokers are spoken to: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    ca_file: File | None = None
    """Certificates that brokers are checked against; empty means the system's."""
    cert_file: File | None = None
    """Certificate this worker shows to brokers, with its chain; empty for none."""
    key_file: File | None = None
    """Key of that certificate; may be in the same file."""
    key_password: SecretStr | None = None
    """Password of that key. Secret."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How to log in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
    sasl_username: str | None = None
    """Who logs in."""
    sasl_password: SecretStr | None = None
    """The password. Secret."""
    group_id: str = Field("sevenp-worker", min_length=1)
    """Consumer group. Workers that share it share the partitions."""
    group_instance_id: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,249}$")
    """Fixed name of this worker in the group, different for each; empty: a new member at each start."""
    session_timeout_ms: Milliseconds = Field(10_000, validation_alias="session_timeout_ms")
    """Silence after which Kafka gives this worker's partitions to another."""
    rebalance_timeout_ms: Milliseconds = Field(60_000, validation_alias="rebalance_timeout_ms")
    """Time Kafka grants for handing partitions over. Longer than the drain deadline."""
    # A member learns of a rebalance with its next heartbeat: so much longer than the session may a take-over last.
    heartbeats_per_session: int = 20
    request_deadline_s: float = 10.0  # one answer of the broker; longer counts as no answer
    # Per partition and fetch: with the events' usual 400 bytes about 5,000 records.
    fetch_bytes: int = 2_097_152

    @property
    def longest_rejoin_s(self) -> float:
        """Seconds after which a group without an assignment is stuck.

        Three times what it grants its slowest member, if no other member asks for more than we do.
        """
        return (3 * self.rebalance_timeout_ms + self.session_timeout_ms) / 1000

    def mistakes(self) -> Iterator[str]:
        """What would not be used or is not whole, and a session that nobody can keep."""
        yield from self._unused()
        if self.security_protocol.endswith("SSL"):
            yield from self.halves(
                ("cert_file", "key_file"), ("key_file", "cert_file"), ("key_password", "key_file")
            )
        session, rebalance = self.variable("session_timeout_ms"), self.variable("rebalance_timeout_ms")
        if self.session_timeout_ms > self.rebalance_timeout_ms:
            yield (
                f"{session} ({self.session_timeout_ms} ms) must not be above {rebalance} "
                f"({self.rebalance_timeout_ms} ms)"
            )
        if self.session_timeout_ms < _SHORTEST_SESSION_MS:
            yield (
                f"{session} ({self.session_timeout_ms} ms) must not be below {_SHORTEST_SESSION_MS} ms: one slow "
                "answer would cost this worker its partitions"
            )

    def _unused(self) -> Iterator[str]:
        """Settings of a login or of TLS that the protocol does not have; and the login that it needs."""
        chosen = f"{self.variable('security_protocol')} {self.security_protocol}"
        has_login, has_tls = self.security_protocol.startswith("SASL"), self.security_protocol.endswith("SSL")
        login = "sasl_username", "sasl_password"
        if has_login:
            given = self.given(*login)
            if missing := [name for name in map(self.variable, login) if name not in given]:
                yield f"{chosen} needs {' and '.join(missing)}"
        elif idle := self.given("sasl_mechanism", *login):
            other = "SASL_SSL" if has_tls else "SASL_SSL, or SASL_PLAINTEXT"
            yield f"{' and '.join(idle)} would not be used: {chosen} does not log in; {other} does"
        if not has_tls and (idle := self.given("ca_file", "cert_file", "key_file", "key_password")):
            other = "SASL_SSL" if has_login else "SSL or SASL_SSL"
            yield f"{' and '.join(idle)} would not be used: {chosen} has no TLS; {other} has"

    def exposed(self) -> Iterator[str]:
        """What leaves this machine unencrypted."""
        elsewhere = [host for host in hosts_of(self.bootstrap_servers) if not is_loopback(host)]
        if elsewhere and not self.security_protocol.endswith("SSL"):
            yield (
                f"{self.variable('bootstrap_servers')} names {elsewhere[0]}, which is not this machine, and "
                f"{self.variable('security_protocol')} {self.security_protocol} would send everything to it "
                f"unencrypted: set it to SSL or SASL_SSL, or allow it by {variable('allow_plaintext')}=true"
            )

    def overtaken(self, drain_deadline_s: float) -> Iterator[str]:
        """Where Kafka would give up on a worker that is still within its own deadlines.

        A rebalance is heard of with a heartbeat; then the batch in hand is drained; then the group must be joined
        again.
        """
        heartbeat_s = self.session_timeout_ms / 1000 / self.heartbeats_per_session
        if self.rebalance_timeout_ms <= (drain_deadline_s + heartbeat_s) * 1000:
            yield (
                f"{self.variable('rebalance_timeout_ms')} ({self.rebalance_timeout_ms} ms) must be above "
                f"{variable('drain_deadline_s')} ({drain_deadline_s:g} s) and a heartbeat ({heartbeat_s:g} s, a "
                f"twentieth of {self.variable('session_timeout_ms')}) together: else Kafka hands partitions over "
                "while this worker is still finishing them"
            )
