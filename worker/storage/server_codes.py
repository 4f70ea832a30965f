"""Every error code MongoDB answers with, by name, and what the worker makes of it.

What the server says about its own state is waited for; what it says about our command or document is ours. The list
is that of MongoDB 6.0 (a test holds it against a running server) with what later servers added, and those codes
without a name of their own that our commands can meet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class CodeClass(Enum):
    """What an answer is about."""

    PASSING = auto()  # elections, conflicts, limits of time: gone with the next try
    SERVER = auto()  # the server's own state, until it or an operator changes it: waited for, and not ready
    HISTORY = auto()  # the point a change stream is to go on from is gone, or was never one
    CONTENT = auto()  # the content of the document or of a value in the request
    SETUP = auto()  # user, certificate, or how server and client are set up
    COMMAND = auto()  # the command itself, whatever its content
    FENCED = auto()  # a newer owner writes on this session
    DUPLICATE = auto()  # the outcome of a unique index, not a failure


@dataclass(frozen=True, slots=True)
class ServerCode:
    """One code, what the server calls it, and its class."""

    code: int
    name: str
    kind: CodeClass


# A code without a name of its own is called by its number.
_TABLE: Mapping[CodeClass, str] = {
    CodeClass.PASSING: """
        6 HostUnreachable, 7 HostNotFound, 24 LockTimeout, 43 CursorNotFound, 46 LockBusy,
        50 MaxTimeMSExpired, 63 OBSOLETE_StaleShardVersion, 64 WriteConcernFailed, 75 WriteConcernLegacyOK,
        83 RemoteResultsUnavailable, 89 NetworkTimeout, 90 CallbackCanceled, 91 ShutdownInProgress,
        107 LockFailed, 109 ConfigurationInProgress, 112 WriteConflict, 117 ConflictingOperationInProgress,
        122 OBSOLETE_ReadAfterOptimeTimeout, 128 LockNotFound, 129 LockStateChangeFailed,
        132 OBSOLETE_ConfigServersInconsistent, 133 FailedToSatisfyReadPreference,
        134 ReadConcernMajorityNotAvailableYet, 135 StaleTerm, 143 CursorInUse, 145 PooledConnectionsDropped,
        149 NoConfigPrimary, 150 StaleEpoch, 156 OBSOLETE_NeedsDocumentMove, 172 TransportSessionClosed,
        173 TransportSessionNotFound, 174 TransportSessionUnknown, 175 QueryPlanKilled,
        187 LinearizableReadConcernError, 189 PrimarySteppedDown, 190 MasterSlaveConnectionFailure,
        191 OBSOLETE_BalancerLostDistributedLock, 194 BalancerInterrupted, 199 ReplicaSetMonitorRemoved,
        200 ChunkRangeCleanupPending, 202 NetworkInterfaceExceededTimeLimit, 203 ShardingStateNotInitialized,
        206 NoSuchSession, 208 TooManyLocks, 209 StaleClusterTime, 215 DatabaseDropPending,
        216 ElectionInProgress, 221 IndexModified, 222 CloseChangeStream, 228 SessionTransferIncomplete,
        234 RetryChangeStream, 237 CursorKilled, 239 SnapshotTooOld, 244 NOT_YET_AVAILABLE_TransactionAborted,
        245 BrokenPromise, 246 SnapshotUnavailable, 247 ProducerConsumerQueueBatchTooLarge,
        248 ProducerConsumerQueueEndClosed, 249 StaleDbVersion, 250 StaleChunkHistory, 251 NoSuchTransaction,
        259 KeyedExecutorRetry, 262 ExceededTimeLimit, 267 PreparedTransactionInProgress,
        272 MigrationConflict, 273 ProducerConsumerQueueProducerQueueDepthExceeded,
        274 ProducerConsumerQueueConsumed, 276 IndexBuildAborted, 277 AlarmAlreadyFulfilled,
        279 ClientDisconnect, 281 TransactionCoordinatorSteppingDown,
        282 TransactionCoordinatorReachedAbortDecision, 285 IndexBuildAlreadyInProgress,
        287 TransactionCoordinatorDeadlineTaskCanceled, 289 WaitForMajorityServiceEarlierOpTimeAvailable,
        290 TransactionExceededLifetimeLimitSeconds, 303 SplitHorizonChange, 304 ShardInvalidatedForTargeting,
        306 ReadThroughCacheLookupCanceled, 308 CurrentConfigNotCommittedYet, 309 ExhaustCommandFinished,
        310 PeriodicJobIsStopped, 311 TransactionCoordinatorCanceled, 312 OperationIsKilledAndDelisted,
        314 ObjectIsBusy, 317 ConnectionPoolExpired, 319 MovePrimaryInProgress, 320 TenantMigrationConflict,
        321 TenantMigrationCommitted, 325 TenantMigrationAborted,
        328 TenantMigrationAccessBlockerShuttingDown, 329 TenantMigrationInProgress,
        333 ServiceExecutorInShutdown, 336 TimeseriesBucketCleared, 337 AuthenticationAbandoned,
        338 ReshardCollectionInProgress, 340 ReshardCollectionCommitted, 341 ReshardCollectionAborted,
        342 ReshardingCriticalSectionTimeout, 343 ShardCannotRefreshDueToLocksHeld,
        348 ChangeStreamTopologyChange, 353 NonRetryableTenantMigrationConflict,
        355 InterruptedDueToStorageChange, 356 TxnRetryCounterTooOld, 358 InternalTransactionNotSupported,
        360 ShardVersionRefreshCanceled, 362 FutureAlreadyRetrieved, 363 RetryableTransactionInProgress,
        365 TemporarilyUnavailable, 369 FLETransactionAbort, 372 CloseConnectionForShutdownCommand,
        373 InternalTransactionsExhaustiveFindHasMore, 374 TransactionAPIMustRetryTransaction,
        375 TransactionAPIMustRetryCommit, 379 DatabaseMetadataRefreshCanceled, 380 RequestAlreadyFulfilled,
        381 ReshardingCoordinatorServiceConflictingOperationInProgress, 382 RemoteCommandExecutionError,
        384 ConnectionError, 385 ConflictingServerlessOperation, 388 TransactionTooLargeForCache,
        391 ReauthenticationRequired, 398 StreamTerminated,
        406 MigrationBlockingOperationCoordinatorCleaningUp, 407 PooledConnectionAcquisitionExceededTimeLimit,
        410 TimeseriesBucketFrozen, 412 UpdatesStillPending, 413 TransactionParticipantFailedUnyield,
        414 AddOrRemoveShardInProgress, 442 RetryMultiPlanning,
        445 DatabaseMetadataRefreshCanceledDueToFCVTransition, 453 InterruptedDueToReshardingCriticalSection,
        9001 SocketException, 9996 OBSOLETE_RecvStaleConfig, 10058 LegacyNotPrimary, 10107 NotWritablePrimary,
        11600 InterruptedAtShutdown, 11601 Interrupted, 11602 InterruptedDueToReplStateChange,
        12586 BackgroundOperationInProgressForDatabase, 12587 BackgroundOperationInProgressForNamespace,
        13388 StaleConfig, 13435 NotPrimaryNoSecondaryOk, 13436 NotPrimaryOrSecondary,
        46841 ClientMarkedKilled, 50915 BackupCursorOpenConflictWithCheckpoint, 56846 ConfigServerUnreachable,
        91331 RetriableRemoteCommandFailure, 10045600 InterruptedDueToFCVChange""",
    CodeClass.SERVER: """
        1 InternalError, 8 UnknownError, 25 RemoteValidationError, 36 RemoteChangeDetected,
        37 FileRenameFailed, 38 FileNotOpen, 39 FileStreamFailed, 41 FileAlreadyOpen, 42 LogWriteFailed,
        45 UserDataInconsistent, 51 ManualInterventionRequired, 70 ShardNotFound, 71 ReplicaSetNotFound,
        74 NodeNotFound, 77 OperationIncomplete, 78 CommandResultSchemaViolation, 80 RoleDataInconsistent,
        82 NoProgressMade, 92 SecondaryAheadOfPrimary, 93 InvalidReplicaSetConfig, 94 NotYetInitialized,
        95 NotSecondary, 96 OperationFailed, 98 DBPathInUse, 102 IncompatibleAuditMetadata,
        103 NewReplicaSetConfigurationIncompatible, 104 NodeNotElectable, 105 IncompatibleShardingMetadata,
        106 DistributedClockSkewed, 108 InconsistentReplicaSetNames, 110 CannotInitializeNodeWithData,
        113 InitialSyncFailure, 114 InitialSyncOplogSourceMissing, 119 InvalidSyncSource,
        120 OplogStartMissing, 124 IncompatibleElectionProtocol, 125 CommandFailed,
        127 UnrecoverableRollbackError, 137 IncompatibleShardingConfigVersion, 138 RemoteOplogStale,
        141 SSLHandshakeFailed, 144 IncompatibleCatalogManager, 146 ExceededMemoryLimit, 147 ZLibError,
        152 OplogOutOfOrder, 154 InconsistentShardIdentity, 155 CannotApplyOplogWhilePrimary,
        157 CanRepairToDowngrade, 158 MustUpgrade, 161 IncompatibleCollationVersion, 164 InitialSyncActive,
        176 FileOpenFailed, 179 WindowsPdhError, 180 BadPerfCounterPath, 204 TimeProofMismatch,
        205 ClusterTimeFailsRateLimiter, 210 CannotVerifyAndSignLogicalTime, 211 KeyNotFound,
        212 IncompatibleRollbackAlgorithm, 217 IncompleteTransactionHistory, 219 FTDCPathNotSet,
        220 FTDCPathAlreadySet, 226 AtomicityFailure, 229 MustDowngrade, 230 DNSHostNotFound,
        231 DNSProtocolError, 240 DNSRecordTypeMismatch, 243 IncompatibleWithUpgradedServer,
        253 FreeMonHttpInFlight, 254 FreeMonHttpTemporaryFailure, 255 FreeMonHttpPermanentFailure,
        258 UnknownFeatureCompatibilityVersion, 261 TooManyLogicalSessions, 264 TooManyFilesOpen,
        265 OrphanedRangeCleanUpFailed, 268 CannotBackup, 269 DataModifiedByRepair,
        270 RepairedReplicaSetNode, 278 UnsatisfiableCommitQuorum, 288 ChecksumMismatch,
        300 RangeDeletionAbandonedBecauseCollectionWithUUIDDoesNotExist, 299 OCSPCertificateStatusRevoked,
        301 DataCorruptionDetected, 302 OCSPCertificateStatusUnknown,
        307 RangeDeletionAbandonedBecauseTaskDocumentDoesNotExist, 313 ResumableRangeDeleterDisabled,
        315 TooStaleToSyncFromSource, 326 OplogQueryMinTsMissing, 332 CannotDowngrade, 371 UserWritesBlocked,
        400 CannotUpgrade, 402 ResourceExhausted, 404 LDAPRoleAcquisitionError,
        409 TimeseriesBucketCompressionFailed, 427 DbCheckSecondaryBatchTimeout, 429 DbCheckInconsistentHash,
        430 IndexKeyOrderViolation, 431 ChunkMetadataInconsistency, 432 OfflineValidationFailedToComplete,
        433 AdmissionQueueOverflow, 449 RateLimitExceeded, 450 PooledConnectionAcquisitionRejected,
        462 IngressRequestRateLimitExceeded, 8000 AtlasError, 14031 OutOfDiskSpace""",
    CodeClass.HISTORY: """
        136 CappedPositionLost, 260 InvalidResumeToken, 280 ChangeStreamFatalError,
        286 ChangeStreamHistoryLost, 346 ChangeStreamInvalidated, 351 ChangeStreamStartAfterInvalidate,
        401 ResumeTenantChangeStream, 40576, 40585, 40647, 40649, 50795, 50811""",
    CodeClass.CONTENT: """
        2 BadValue, 14 TypeMismatch, 15 Overflow, 16 InvalidLength, 21 EmptyArrayOperation, 22 InvalidBSON,
        28 PathNotViable, 29 NonExistentPath, 30 InvalidPath, 34 CannotBackfillArray,
        52 DollarPrefixedFieldName, 53 InvalidIdField, 54 NotSingleValueField, 55 InvalidDBRef,
        56 EmptyFieldName, 57 DottedFieldName, 61 ShardKeyNotFound, 66 ImmutableField,
        84 OBSOLETE_DuplicateKeyValue, 111 NotExactValueField, 116 DocTooLargeForCapped,
        121 DocumentValidationFailure, 139 JSInterpreterFailure, 142 JSUncatchableError,
        171 CannotIndexParallelArrays, 201 CannotBuildIndexKeys, 218 UpdateOperationFailed,
        241 ConversionFailure, 271 JSInterpreterFailureWithStack, 357 InvalidBSONType, 378 NonConformantBSON,
        395 TruncatedSerialization, 408 CannotInsertTimeseriesBucketsWithMixedSchema,
        10003 CannotGrowDocumentInCappedNamespace, 10334 BSONObjectTooLarge, 16554, 16555, 16556, 16608,
        16609, 16610, 16611, 16612, 16755, 17124, 17280 OBSOLETE_KeyTooLong, 17419, 17420, 28664, 28689,
        28690, 40390""",
    CodeClass.SETUP: """
        11 UserNotFound, 13 Unauthorized, 18 AuthenticationFailed, 20 IllegalOperation, 31 RoleNotFound,
        32 RolesNotRelated, 33 PrivilegeNotFound, 35 UserModificationFailed, 49 InvalidRoleModification,
        58 RoleModificationFailed, 69 AuthSchemaIncompatible, 76 NoReplicationEnabled,
        79 UnknownReplWriteConcern, 100 UnsatisfiableWriteConcern, 101 OutdatedClient, 123 NotAReplicaSet,
        140 InvalidSSLConfiguration, 148 ReadConcernMajorityNotEnabled, 160 MaxStalenessOutOfRange,
        188 IncompatibleServerVersion, 193 NoShardingEnabled, 214 AuthenticationRestrictionUnmet,
        293 InvalidSeedList, 294 InvalidTopologyType, 295 InvalidHeartBeatFrequency,
        296 TopologySetNameRequired, 298 InvalidServerType, 322 APIVersionError, 323 APIStrictError,
        324 APIDeprecationError, 334 MechanismUnavailable, 347 APIMismatchError,
        354 LoadBalancerSupportMismatch, 376 ChangeStreamNotEnabled, 390 InvalidSignature, 392 InvalidJWT,
        393 InvalidTenantId, 13297 DatabaseDifferCase""",
    CodeClass.COMMAND: """
        4 NoSuchKey, 5 GraphContainsCycle, 9 FailedToParse, 10 CannotMutateObject, 12 UnsupportedFormat,
        17 ProtocolError, 19 CannotReuseObject, 23 AlreadyInitialized, 26 NamespaceNotFound, 27 IndexNotFound,
        40 ConflictingUpdateOperators, 47 NoMatchingDocument, 48 NamespaceExists, 59 CommandNotFound,
        60 OBSOLETE_DatabaseNotFound, 62 OplogOperationUnsupported, 65 MultipleErrorsOccurred,
        67 CannotCreateIndex, 68 IndexAlreadyExists, 72 InvalidOptions, 73 InvalidNamespace,
        81 NoMatchParseContext, 85 IndexOptionsConflict, 86 IndexKeySpecsConflict, 87 CannotSplit,
        88 OBSOLETE_SplitFailed, 97 NoProjectionFound, 115 CommandNotSupported, 118 NamespaceNotSharded,
        126 RPCProtocolNegotiationFailed, 130 SymbolNotFound, 151 OperationCannotBeBatched, 153 ChunkTooBig,
        159 DurationOverflow, 162 CollectionIsEmpty, 163 ZoneStillInUse, 165 ViewDepthLimitExceeded,
        166 CommandNotSupportedOnView, 167 OptionNotSupportedOnView, 168 InvalidPipelineOperator,
        169 CommandOnShardedViewNotSupportedOnMongod, 170 TooManyMatchingDocuments, 177 ZoneNotFound,
        178 RangeOverlapConflict, 181 AmbiguousIndexKeyPattern, 182 InvalidViewDefinition,
        183 ClientMetadataMissingField, 184 ClientMetadataAppNameTooLarge, 185 ClientMetadataDocumentTooLarge,
        186 ClientMetadataCannotBeMutated, 192 FailPointEnabled, 195 ViewPipelineMaxSizeExceeded,
        197 InvalidIndexSpecificationOption, 198 OBSOLETE_ReceivedOpReplyMessage, 207 InvalidUUID,
        213 DuplicateSession, 223 IllegalOpMsgFlag, 224 QueryFeatureNotAllowed,
        227 CannotImplicitlyCreateCollection, 232 MaxSubPipelineDepthExceeded, 233 TooManyDocumentSequences,
        235 InternalErrorNotSupported, 236 ForTestingErrorExtraInfo, 238 NotImplemented,
        242 CannotCreateCollection, 252 ReentrancyNotAllowed, 256 TransactionCommitted,
        257 TransactionTooLarge, 263 OperationNotSupportedInTransaction, 266 FailPointSetFailed,
        275 ExchangePassthrough, 283 WouldChangeOwningShard,
        284 ForTestingErrorExtraInfoWithExtraInfoInNamespace, 291 NoQueryExecutionPlans,
        292 QueryExceededMemoryLimitNoDiskUseAllowed, 297 HierarchicalAcquisitionLevelViolation,
        316 QueryTrialRunCompleted, 318 ForTestingOptionalErrorExtraInfo, 327 NoSuchTenantMigration,
        330 SkipCommandExecution, 331 FailedToRunWithReplyBuilder, 335 TenantMigrationForgotten,
        339 NoSuchReshardCollection, 344 AuditingNotEnabled, 345 RuntimeAuditConfigurationNotEnabled,
        349 KeyPatternShorterThanBound, 350 ReshardCollectionTruncatedError, 352 UnsupportedOpQueryCommand,
        359 CannotConvertIndexToUnique, 361 CollectionUUIDMismatch, 364 TxnRetryCounterNotSupported,
        366 WouldChangeOwningShardDeletedNoDocument, 367 FLECompactionPlaceholder,
        370 CannotDropShardKeyIndex, 377 FLEMaxTagLimitExceeded, 383 CollectionIsEmptyLocally,
        386 DuplicateKeyId, 387 EncounteredFLEPayloadWhileApplyingHmac, 389 LibmongocryptError,
        396 IndexInformationTooLarge, 403 UnsupportedShardingEventNotification,
        405 CannotCreateChunkDistribution, 411 QueryRejectedBySettings, 426 IndexIsEmpty,
        428 DbCheckAttemptOnClusteredCollectionIdIndex, 434 NoDistinctScansForDistinctEligibleQuery,
        13104 OBSOLETE_PrepareConfigsFailed, 13113 MergeStageNoMatchingDocument, 40324,
        40413 IDLDuplicateField, 40414 IDLFailedToParse, 40415 IDLUnknownField,
        50768 NotARetryableWriteCommand""",
    CodeClass.FENCED: "225 TransactionTooOld",
    CodeClass.DUPLICATE: "3 OBSOLETE_DuplicateKey, 11000 DuplicateKey",
}


def _row(text: str, kind: CodeClass) -> ServerCode:
    code, _, name = text.strip().partition(" ")
    return ServerCode(int(code), name or f"Location{code}", kind)


SERVER_CODES = tuple(_row(text, kind) for kind, rows in _TABLE.items() for text in rows.split(","))
_BY_CODE: Mapping[int | None, ServerCode] = {row.code: row for row in SERVER_CODES}


def code_class(code: int | None) -> CodeClass | None:
    """The class of a code; None for one this release does not know, which is waited for."""
    known = _BY_CODE.get(code)
    return known.kind if known is not None else None


def code_name(code: int | None) -> str:
    """What the server calls the code, `UnknownCode` where this release does not know it."""
    known = _BY_CODE.get(code)
    return known.name if known is not None else "UnknownCode"


def told_by_the_server(code: int | None) -> bool:
    """True for an answer about the server's own state, or one nobody knows: while it lasts, nobody is ready."""
    return code_class(code) in {CodeClass.SERVER, None}
