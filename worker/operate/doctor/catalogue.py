"""THE registration of findings: whatever is not in this tuple is not looked for."""

from worker.operate.doctor.clock_skew import CLOCK_SKEW
from worker.operate.doctor.collection_missing import COLLECTION_MISSING
from worker.operate.doctor.compacted_topic import COMPACTED_TOPIC
from worker.operate.doctor.direct_connection import DIRECT_CONNECTION
from worker.operate.doctor.disk_filling import DISK_FILLING
from worker.operate.doctor.expiry_differs import EXPIRY_DIFFERS
from worker.operate.doctor.failpoints import FAILPOINTS
from worker.operate.doctor.few_members import FEW_MEMBERS
from worker.operate.doctor.few_partitions import FEW_PARTITIONS
from worker.operate.doctor.finding import Finding
from worker.operate.doctor.foreign_unique_index import FOREIGN_UNIQUE_INDEX
from worker.operate.doctor.group_behind import GROUP_BEHIND
from worker.operate.doctor.index_differs import INDEX_DIFFERS
from worker.operate.doctor.index_missing import INDEX_MISSING
from worker.operate.doctor.kafka_away import KAFKA_AWAY
from worker.operate.doctor.kafka_permissions import KAFKA_PERMISSIONS
from worker.operate.doctor.large_records import LARGE_RECORDS
from worker.operate.doctor.log_behind import LOG_BEHIND
from worker.operate.doctor.migration_pending import MIGRATION_PENDING
from worker.operate.doctor.mongodb_away import MONGODB_AWAY
from worker.operate.doctor.no_replica_set import NO_REPLICA_SET
from worker.operate.doctor.offsets_expire import OFFSETS_EXPIRE
from worker.operate.doctor.old_mongodb import OLD_MONGODB
from worker.operate.doctor.one_broker import ONE_BROKER
from worker.operate.doctor.oplog_below_retention import OPLOG_BELOW_RETENTION
from worker.operate.doctor.owners_differ import OWNERS_DIFFER
from worker.operate.doctor.privileges_missing import PRIVILEGES_MISSING
from worker.operate.doctor.privileges_worth_having import PRIVILEGES_WORTH_HAVING
from worker.operate.doctor.records_from_the_future import RECORDS_FROM_THE_FUTURE
from worker.operate.doctor.records_gone import RECORDS_GONE
from worker.operate.doctor.records_missing import RECORDS_MISSING
from worker.operate.doctor.retention_by_size import RETENTION_BY_SIZE
from worker.operate.doctor.scanning_queries import SCANNING_QUERIES
from worker.operate.doctor.schema_privileges import SCHEMA_PRIVILEGES
from worker.operate.doctor.session_timeout_refused import SESSION_TIMEOUT_REFUSED
from worker.operate.doctor.sessions_forgotten import SESSIONS_FORGOTTEN
from worker.operate.doctor.short_oplog import SHORT_OPLOG
from worker.operate.doctor.short_retention import SHORT_RETENTION
from worker.operate.doctor.slow_queries import SLOW_QUERIES
from worker.operate.doctor.time_series_differs import TIME_SERIES_DIFFERS
from worker.operate.doctor.timeouts_contradict import TIMEOUTS_CONTRADICT
from worker.operate.doctor.topic_copies import TOPIC_COPIES
from worker.operate.doctor.topic_differs import TOPIC_DIFFERS
from worker.operate.doctor.topic_missing import TOPIC_MISSING
from worker.operate.doctor.transaction_lifetime import TRANSACTION_LIFETIME
from worker.operate.doctor.under_replicated import UNDER_REPLICATED
from worker.operate.doctor.unused_index import UNUSED_INDEX
from worker.operate.doctor.uri_options_ignored import URI_OPTIONS_IGNORED
from worker.operate.doctor.uri_time_limit import URI_TIME_LIMIT
from worker.operate.doctor.validator_differs import VALIDATOR_DIFFERS
from worker.operate.doctor.zstd_time_series import ZSTD_TIME_SERIES

FINDINGS: tuple[Finding, ...] = (
    # Who answers, and what it is.
    MONGODB_AWAY,
    KAFKA_AWAY,
    NO_REPLICA_SET,
    OLD_MONGODB,
    FAILPOINTS,
    FEW_MEMBERS,
    ONE_BROKER,
    # Who may do what.
    PRIVILEGES_MISSING,
    KAFKA_PERMISSIONS,
    SCHEMA_PRIVILEGES,
    PRIVILEGES_WORTH_HAVING,
    # Collections.
    COLLECTION_MISSING,
    VALIDATOR_DIFFERS,
    INDEX_MISSING,
    INDEX_DIFFERS,
    TIME_SERIES_DIFFERS,
    EXPIRY_DIFFERS,
    MIGRATION_PENDING,
    FOREIGN_UNIQUE_INDEX,
    ZSTD_TIME_SERIES,
    # Whose documents they are.
    OWNERS_DIFFER,
    # Topics.
    TOPIC_MISSING,
    COMPACTED_TOPIC,
    SHORT_RETENTION,
    RETENTION_BY_SIZE,
    TOPIC_COPIES,
    UNDER_REPLICATED,
    FEW_PARTITIONS,
    TOPIC_DIFFERS,
    LARGE_RECORDS,
    # What was lost, or put back.
    RECORDS_MISSING,
    RECORDS_GONE,
    GROUP_BEHIND,
    LOG_BEHIND,
    # Times.
    SHORT_OPLOG,
    OPLOG_BELOW_RETENTION,
    OFFSETS_EXPIRE,
    SESSION_TIMEOUT_REFUSED,
    SESSIONS_FORGOTTEN,
    TRANSACTION_LIFETIME,
    TIMEOUTS_CONTRADICT,
    URI_TIME_LIMIT,
    DIRECT_CONNECTION,
    URI_OPTIONS_IGNORED,
    CLOCK_SKEW,
    RECORDS_FROM_THE_FUTURE,
    # How MongoDB does.
    SLOW_QUERIES,
    SCANNING_QUERIES,
    UNUSED_INDEX,
    DISK_FILLING,
)
