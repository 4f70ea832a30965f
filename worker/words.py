"""Numbers and kinds of errors as people say them."""

import errno
import os
import re

_SUFFIX = re.compile(r"(?<=.)(Error|Exception)$")
_NEXT_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
# What the class's own name says badly.
_BETTER = {
    "TimeoutError": "no answer in time",
    "gaierror": "the name is not known",
    "KafkaTimeoutError": "no answer in time",
    "RequestTimedOutError": "no answer in time",
    "KafkaConnectionError": "no connection",
    "MessageSizeTooLargeError": "larger than the broker, or the publisher, takes",
    "RecordListTooLargeError": "larger than the broker takes",
    "UnknownTopicOrPartitionError": "the topic does not exist",
    "TopicAuthorizationFailedError": "this user may not use the topic",
    "ClusterAuthorizationFailedError": "this user may not use the cluster",
    "GroupAuthorizationFailedError": "this user may not use the consumer group",
    "UnsupportedVersionError": "the broker does not know this request",
    "IncompatibleBrokerVersion": "the broker does not know this request",
}


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 item`, `2,000 items`; `plural` where an s is not enough."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def in_words(error: BaseException) -> str:
    """What kind of error it is, without a library's class name: `ConnectionRefusedError` is "connection refused"."""
    name = type(error).__name__
    if name in _BETTER:
        return _BETTER[name]
    if isinstance(error, OSError) and error.errno in errno.errorcode:
        return os.strerror(error.errno or 0).lower()
    return " ".join(_NEXT_WORD.split(_SUFFIX.sub("", name))).lower()
