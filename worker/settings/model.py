"""Every setting with its type, its default and the sentence that explains it; the checks are next door."""

import os
import unicodedata
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from worker.settings.addresses import brokers, file, host, http_url, mail_address, mongodb_uri, topic
from worker.settings.consistency import assert_channels_are_usable, assert_times_fit
from worker.settings.names import (
    PREFIX,
    SECRETS_DIR,
    Channel,
    NotificationKind,
    RoleName,
    StartPolicy,
    secrets_dir,
)
from worker.settings.secret_files import SecretFiles
from worker.settings.wire import assert_wire_is_secured

Milliseconds = Annotated[int, Field(gt=0, le=3_600_000)]
Names = Annotated[frozenset[str], NoDecode]
File = Annotated[Path, AfterValidator(file)]
Host = Annotated[str, AfterValidator(host)]
Topic = Annotated[str, AfterValidator(topic)]


class Settings(BaseSettings):
    """Every setting. Made by `load_settings`, which says what is wrong in an operator's words."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
    )

    roles: Annotated[tuple[RoleName, ...], NoDecode] = Field(
        tuple(RoleName),
        description="Services this process runs, separated by commas: ingest, progress, counts, notify, retry.",
    )
    mongodb_uri: SecretStr = Field(
        SecretStr("mongodb://127.0.0.1:27017/?replicaSet=rs0"),
        description="MongoDB replica set or sharded cluster. Secret: it may hold a password.",
    )
    mongodb_username: str | None = Field(
        None, description="Who logs in to MongoDB, where the URI names nobody; empty for nobody."
    )
    mongodb_password: SecretStr | None = Field(None, description="The password. Secret.")
    mongodb_auth_source: str | None = Field(
        None, description="Database that user is defined in; empty means the URI's, or admin."
    )
    mongodb_ca_file: File | None = Field(
        None,
        description="Certificates that MongoDB is checked against; turns TLS on. The system's: tls=true in the URI.",
    )
    database_prefix: str = Field(
        "education_platform",
        pattern=r"^[A-Za-z0-9_-]{1,48}$",
        description="Databases are called PREFIX_content, PREFIX_analytics, PREFIX_config.",
    )
    external_collections: Names = Field(
        frozenset(),
        description="Collections another service owns, separated by commas: used, never created or changed.",
    )
    allow_test_commands: bool = Field(
        default=False, description="Accept a mongod started with enableTestCommands. For tests only."
    )
    kafka_bootstrap_servers: Annotated[str, AfterValidator(brokers)] = Field(
        "127.0.0.1:9092", description="Kafka brokers, host:port separated by commas."
    )
    kafka_group_id: str = Field(
        "sevenp-worker",
        min_length=1,
        description="Consumer group. Workers that share it share the partitions.",
    )
    kafka_group_instance_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="Fixed name of this worker in the group, different for each; empty: a new member at each start.",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How brokers are spoken to: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."
    )
    kafka_ca_file: File | None = Field(
        None, description="Certificates that brokers are checked against; empty means the system's."
    )
    kafka_cert_file: File | None = Field(
        None, description="Certificate this worker shows to brokers, with its chain; empty for none."
    )
    kafka_key_file: File | None = Field(None, description="Key of that certificate; may be in the same file.")
    kafka_key_password: SecretStr | None = Field(None, description="Password of that key. Secret.")
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="How to log in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."
    )
    kafka_sasl_username: str | None = Field(None, description="Who logs in.")
    kafka_sasl_password: SecretStr | None = Field(None, description="The password. Secret.")
    allow_plaintext: bool = Field(
        default=False,
        description="Let events and passwords leave this machine unencrypted, to Kafka and to MongoDB.",
    )
    topic: Topic = Field(
        "interaction-events",
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
        description="Topic the learner events are read from.",
    )
    xapi_home_page: Annotated[str, AfterValidator(http_url)] | None = Field(
        None,
        description="Home page of the platform's own xAPI accounts: names that are ObjectIds stay the learners' ids.",
    )
    start_policy: StartPolicy = Field(
        StartPolicy.EARLIEST,
        description="Where a consumer group without a committed offset begins: earliest or latest.",
    )
    session_timeout_ms: Milliseconds = Field(
        10_000, description="Silence after which Kafka gives this worker's partitions to another."
    )
    rebalance_timeout_ms: Milliseconds = Field(
        60_000, description="Time Kafka grants for handing partitions over. Longer than the drain deadline."
    )
    position_check_interval_s: float = Field(
        10.0, gt=0, le=600, description="How often positions are compared with the ends of the log."
    )
    ingest_max_records: int = Field(
        5_000, ge=1, le=100_000, description="Largest batch, in records. Batches grow with the backlog."
    )
    ingest_max_bytes: int = Field(
        15_000_000,
        ge=1_000_000,
        le=15_500_000,
        description="Most in hand (two batches), in bytes of records, and largest command: MongoDB takes 16 MB.",
    )
    max_future_hours: float = Field(
        24.0, ge=0, le=24 * 366, description="How far an event may lie ahead of its record's time in Kafka."
    )
    watch_lease_s: float = Field(
        10.0,
        ge=2,
        le=300,
        description="Silence after which another worker takes over this one's slot groups.",
    )
    notify_routes: Annotated[Mapping[NotificationKind, Channel], NoDecode] = Field(
        dict.fromkeys(NotificationKind, Channel.LOG),
        description="Which kind goes where: welcome and completion to log, kafka, webhook or mail.",
    )
    notify_within_hours: float = Field(
        48.0,
        ge=0,
        le=24 * 366 * 100,
        description="How old a milestone may be, when it is counted, to be announced; an older one is suppressed.",
    )
    notify_send_timeout_s: float = Field(
        10.0, gt=0, le=60, description="Time a receiver has to take one notification."
    )
    notify_lease_s: float = Field(
        60.0, ge=2, le=3_600, description="Silence after which another worker sends what this one had taken."
    )
    notify_max_refusals: int = Field(
        12, ge=1, le=1_000, description="Refusals of one notification's content before it counts as failed."
    )
    notify_kafka_topic: Topic = Field(
        "notifications", pattern=r"^[A-Za-z0-9._-]{1,249}$", description="Topic for the channel kafka."
    )
    notify_kafka_idempotent: bool = Field(
        default=True,
        description="False for a broker without idempotent producers: a record may stand there twice.",
    )
    notify_webhook_url: SecretStr | None = Field(
        None,
        description="Where the channel webhook posts to, https or on this machine. Secret: it may hold a token.",
    )
    notify_webhook_secret: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        None, description="Key the webhook's requests are signed with, 16 characters or more. Secret."
    )
    notify_webhook_legacy_headers: bool = Field(
        default=True,
        description="Send Sevenp-Signature and Idempotency-Key beside the headers of Standard Webhooks.",
    )
    notify_webhook_allow_http: bool = Field(
        default=False, description="Let the webhook be plain http on another machine, too."
    )
    notify_smtp_host: Host | None = Field(None, description="Mail server of the channel mail.")
    notify_smtp_port: int = Field(587, ge=1, le=65_535, description="Its port.")
    notify_smtp_tls: Literal["auto", "required", "implicit"] = Field(
        "auto", description="STARTTLS where offered (auto) or always (required), or TLS at once (implicit)."
    )
    notify_smtp_username: str | None = Field(
        None, description="Who logs in to the mail server; empty for nobody."
    )
    notify_smtp_password: SecretStr | None = Field(None, description="The password. Secret.")
    notify_mail_from: Annotated[str, AfterValidator(mail_address)] | None = Field(
        None, description="Address the mails come from."
    )
    retry_max_attempts: int = Field(
        3, ge=1, le=100, description="Attempts at what failed, under one code, before it waits for somebody."
    )
    retry_rate_per_s: int = Field(
        200, ge=1, le=10_000, description="Most attempts in any second, of all workers together."
    )
    retry_backoff_s: float = Field(
        10.0,
        gt=0,
        le=3_600,
        description="Longest wait after the first attempt; it doubles with each further one.",
    )
    retry_longest_backoff_s: float = Field(
        900.0,
        gt=0,
        le=86_400,
        description="Where the doubling ends. Actual waits are random below the longest.",
    )
    retry_lease_s: float = Field(
        60.0,
        ge=2,
        le=3_600,
        description="Silence after which an attempt counts as one that was not survived.",
    )
    start_timeout_s: float = Field(
        30.0, gt=0, le=3_600, description="How long MongoDB and Kafka may stay silent at start."
    )
    drain_deadline_s: float = Field(
        20.0,
        gt=0,
        le=600,
        description="Time to finish what is in hand at a stop. Below the grace period of the orchestrator.",
    )
    http_host: Host = Field(
        "127.0.0.1", description="Address of /metrics, /livez, /readyz. In a container: 0.0.0.0."
    )
    http_port: int = Field(
        9464, ge=0, le=65_535, description="Port of the same; 0 picks a free one and logs it."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error. Batches are logged at debug."
    )
    revision: str = Field(
        "unknown", description="Source revision, shown in the metric build_info. Set by the image."
    )
    secrets_dir: Path = Field(
        SECRETS_DIR,
        description="Folder of secret files, one setting per file (sevenp_mongodb_uri). May be absent.",
    )

    @field_validator("roles", "external_collections", mode="before")
    @classmethod
    def _split(cls, value: Any, info: ValidationInfo) -> Any:
        """`a, b` as people write it in an environment variable."""
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",") if part.strip()]
        return [part.lower() for part in parts] if info.field_name == "roles" else parts

    @field_validator("notify_routes", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        """`welcome=log, completion=webhook`; a kind that is not named goes to the log."""
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(not separator for _, separator, _ in pairs):
            raise ValueError("write kind=channel, separated by commas: welcome=log,completion=webhook")
        named = {kind.strip().lower(): channel.strip().lower() for kind, _, channel in pairs}
        return {**dict.fromkeys(NotificationKind, Channel.LOG), **named}

    @field_validator("roles")
    @classmethod
    def _at_least_one(cls, roles: tuple[RoleName, ...]) -> tuple[RoleName, ...]:
        if not roles:
            raise ValueError(f"name at least one of {', '.join(RoleName)}")
        return tuple(dict.fromkeys(roles))

    @field_validator("*", mode="before")
    @classmethod
    def _clean(cls, value: Any, info: ValidationInfo) -> Any:
        """Without what editors and shells leave around a value; words of a closed set in any case."""
        if not isinstance(value, str):
            return value
        text = value.removeprefix("\ufeff").strip()
        if any(unicodedata.category(character) == "Cc" for character in text):
            raise ValueError("must be one line without control characters")
        return _in_its_case(text, cls.model_fields[str(info.field_name)].annotation)

    @field_validator("mongodb_uri", "notify_webhook_url")
    @classmethod
    def _usable(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None:
            check = mongodb_uri if info.field_name == "mongodb_uri" else http_url
            check(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        assert_times_fit(self)
        assert_wire_is_secured(self)
        if RoleName.NOTIFY in self.roles:
            assert_channels_are_usable(self)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then secret files. No `.env` file: what runs is what is set."""
        return init_settings, env_settings, SecretFiles(settings_cls, secrets_dir(os.environ))


def _in_its_case(text: str, annotation: Any) -> str:
    """The word of the annotation's closed set that the text is in another case; else the text."""
    return next((word for word in _words(annotation) if word.casefold() == text.casefold()), text)


def _words(annotation: Any) -> Iterable[str]:
    """The words of a Literal or an enumeration, however it is wrapped."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return [word for word in get_args(annotation) if isinstance(word, str)]
