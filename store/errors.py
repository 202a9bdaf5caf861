"""What can go wrong with an object store: one table, from the codes of S3 and the exceptions of
boto3 to a few kinds of errors, and what to do about each in the words of whoever reads it.

Nothing of boto3 is imported before something went wrong.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager


class StoreError(Exception):
    """An object store can't do what was asked. The text says what was wrong and what to do."""


class BadUrl(StoreError):
    """A text is not the URL of a place in an object store."""


class Gone(StoreError):
    """The bucket or object isn't there."""


class NoBucket(Gone):
    """There is no such bucket."""


class NoObject(Gone):
    """There is no such object. S3 says so of a missing bucket too, in answer to a HEAD."""


class NoUpload(StoreError):
    """An upload in parts is complete already, or somebody has ended it."""


class Changed(StoreError):
    """An object is there already, or has another content than the one that was asked for."""


class OtherContent(StoreError):
    """A local file is not what it was when its checksum was taken: it was not put in the store."""


class BucketTaken(StoreError):
    """There is a bucket of that name already, whoever owns it."""


class Forbidden(StoreError):
    """The credentials may not do this. S3 also says so of wrong ones, in answer to a HEAD."""


class WrongCredentials(StoreError):
    """The store does not know the credentials, or not for this region."""


class Expired(WrongCredentials):
    """The credentials were good for a time that is over, or their login is."""


class NoCredentials(WrongCredentials):
    """Nobody said which credentials to use."""


class Unreachable(StoreError):
    """No store answers at the endpoint."""


class NotTrusted(Unreachable):
    """The store's certificate is of an authority that this machine does not know, or no TLS."""


class WrongAddressing(StoreError):
    """The store takes a bucket's name in the host's name only."""


class WrongClock(StoreError):
    """The clocks of the store and of this machine differ by too much for a signature."""


class WrongRegion(StoreError):
    """The store has no such region."""


class Unsupported(StoreError):
    """The store knows no such request."""


class Unusable(StoreError):
    """What is in the store can't be used as it is, and will not be another the next time."""


class Full(StoreError):
    """The store has no room left, or the quota is used up."""


class NoRoom(StoreError):
    """The disk of this machine has no room for what is to be fetched."""


class BadSettings(StoreError):
    """boto3 makes no request of this endpoint, profile or name."""


_KINDS: Mapping[str, type[StoreError]] = {
    "NoSuchBucket": NoBucket,
    "NoSuchKey": NoObject,
    "NoSuchUpload": NoUpload,
    "NotFound": NoObject,
    # The answer to a HEAD has no body: its code is the HTTP status.
    "404": NoObject,
    "PreconditionFailed": Changed,
    "ConditionalRequestConflict": Changed,
    "412": Changed,
    # What was to be read on at its end is shorter by now.
    "InvalidRange": Changed,
    "BucketAlreadyExists": BucketTaken,
    "BucketAlreadyOwnedByYou": BucketTaken,
    "AccessDenied": Forbidden,
    "AllAccessDisabled": Forbidden,
    "Forbidden": Forbidden,
    "403": Forbidden,
    "InvalidAccessKeyId": WrongCredentials,
    "SignatureDoesNotMatch": WrongCredentials,
    "InvalidToken": WrongCredentials,
    "InvalidTokenId": WrongCredentials,
    "ExpiredToken": Expired,
    "ExpiredTokenException": Expired,
    "TokenRefreshRequired": Expired,
    # S3 names the region that it expected.
    "AuthorizationHeaderMalformed": WrongCredentials,
    "RequestTimeTooSkewed": WrongClock,
    "InvalidLocationConstraint": WrongRegion,
    "IllegalLocationConstraintException": WrongRegion,
    # Of the bucket: S3 redirects, boto3 follows where it is told the region.
    "PermanentRedirect": WrongRegion,
    "301": WrongRegion,
    # Of OSS and of OBS.
    "SecondLevelDomainForbidden": WrongAddressing,
    "VirtualHostDomainRequired": WrongAddressing,
    # Of MinIO, Ceph, OBS, SeaweedFS and others. AWS itself is never full.
    "XMinioStorageFull": Full,
    "XMinioAdminBucketQuotaExceeded": Full,
    "QuotaExceeded": Full,
    "BucketQuotaExceeded": Full,
    "InsufficientStorage": Full,
    "InsufficientStorageSpace": Full,
    "InsufficientCapacity": Full,
    "NotEnoughSpace": Full,
    "507": Full,
    "NotImplemented": Unsupported,
    "MethodNotAllowed": Unsupported,
    "405": Unsupported,
    "501": Unsupported,
}
"""By the codes of S3. Any other is a plain StoreError."""

_PROBLEMS: Mapping[type[StoreError], str] = {
    NoBucket: "the object store at '{endpoint}' has no such bucket",
    NoObject: "the object store at '{endpoint}' has no such object",
    NoUpload: "the object store at '{endpoint}' has no such upload any more",
    Changed: "it is there already, or has changed meanwhile ({detail})",
    BucketTaken: "there is a bucket of that name already ({detail})",
    Forbidden: "the object store at '{endpoint}' refused access: the credentials may not do that "
    "({detail})",
    WrongCredentials: "the object store at '{endpoint}' refused the credentials ({detail})",
    Expired: "the credentials for the object store at '{endpoint}' have expired ({detail})",
    NoCredentials: "no credentials for the object store at '{endpoint}'",
    Unreachable: "the object store at '{endpoint}' can't be reached ({detail})",
    NotTrusted: "the certificate of the object store at '{endpoint}' is not trusted ({detail})",
    WrongAddressing: "the object store at '{endpoint}' wants a bucket's name in the host's name "
    "({detail})",
    WrongClock: "the object store at '{endpoint}' has another time than this machine ({detail})",
    WrongRegion: "the object store at '{endpoint}' does not know the region ({detail})",
    Unsupported: "the object store at '{endpoint}' can't do that ({detail})",
    Full: "the object store at '{endpoint}' is full ({detail})",
    BadSettings: "{detail}",
    StoreError: "the object store at '{endpoint}' answers {detail}",
}

Advice = Mapping[type[StoreError], str]
"""What to do about each kind of error, for one kind of reader."""

PROGRAM: Advice = {
    NoBucket: "Run 'pulumi up --refresh'.",
    NoObject: "Run 'pulumi up --refresh'.",
    NoUpload: "Try again.",
    Changed: "Try again.",
    BucketTaken: "Set dlstack:bucketPrefix to another prefix, or delete the bucket.",
    Forbidden: "Check dlstack:s3AccessKey and dlstack:s3SecretKey, grant their user the right to, "
    "or set dlstack:bucketPrefix if the bucket is somebody else's.",
    WrongCredentials: "Check dlstack:s3AccessKey, dlstack:s3SecretKey and dlstack:s3Region; "
    "dlstack:s3SessionToken, too, if they are temporary.",
    Expired: "Set dlstack:s3AccessKey, dlstack:s3SecretKey and dlstack:s3SessionToken anew, or log "
    "in again if dlstack:s3Credentials is 'environment', and run 'pulumi up'.",
    NoCredentials: "Set dlstack:s3AccessKey and dlstack:s3SecretKey. If dlstack:s3Credentials is "
    "'environment', log in here, and give the pods an identity (dlstack:serviceAccount).",
    Unreachable: "Check that it runs and that dlstack:s3Endpoint is right.",
    NotTrusted: "Is it https? If its certificate is of an authority of your own, set "
    "dlstack:s3CaCertificate to the authority's certificate (PEM).",
    WrongAddressing: "Set dlstack:s3AddressingStyle to 'virtual'.",
    WrongClock: "Set this machine's clock.",
    WrongRegion: "Set dlstack:s3Region to the store's region.",
    Unsupported: "docs/stores.md says what a store must be able to do.",
    Full: "Make room in it ('python -m infra prune --keep N' or dlstack:keepVersions do so), or "
    "raise its quota.",
    BadSettings: "Check dlstack:s3Endpoint, and the AWS_* variables of this shell.",
    StoreError: "Try again, or see the store's log.",
}
"""For whoever runs `pulumi` or `python -m infra`: the store's settings are the stack's."""

IN_STACK: Advice = {
    **PROGRAM,
    Forbidden: "Run 'pulumi up --refresh'.",
    WrongCredentials: "Run 'pulumi up --refresh'.",
    Unreachable: "It is the stack's own: 'pulumi up --refresh' starts it again, and "
    "'python -m infra status' says how it is.",
    Full: "'python -m infra status' says how full its volume is. dlstack:storageSize has it grow.",
    StoreError: "Try again. It answers so when its volume is full, too: 'python -m infra status' "
    "says how full it is, and dlstack:storageSize has it grow.",
}
"""The same, of the store that the stack runs itself: no setting names it."""

ENVIRONMENT: Advice = {
    NoBucket: "Create it, or correct the URL.",
    NoObject: "Correct the URL, or AWS_ENDPOINT_URL_S3.",
    NoUpload: "Try again.",
    Changed: "Try again.",
    BucketTaken: "Take another name.",
    Forbidden: "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do.",
    WrongCredentials: "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION; "
    "AWS_SESSION_TOKEN, too, if they are temporary.",
    Expired: "Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN anew.",
    NoCredentials: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this process an "
    "identity that boto3 finds.",
    Unreachable: "Check AWS_ENDPOINT_URL_S3 and the network.",
    NotTrusted: "Is it https? If its certificate is of an authority of your own, name the "
    "authority's file in AWS_CA_BUNDLE, or set DLSTACK_S3_CA_CERTIFICATE to its text.",
    WrongAddressing: "Set DLSTACK_S3_ADDRESSING_STYLE to 'virtual'.",
    WrongClock: "Set the clock of this machine.",
    WrongRegion: "Check AWS_REGION.",
    Unsupported: "See what a store must be able to do (docs/stores.md).",
    Full: "Make room in it, or raise its quota.",
    BadSettings: "Check the URL and the AWS_* variables, AWS_ENDPOINT_URL_S3 among them.",
    StoreError: "Try again, or see the store's log. A stack's own store answers so when its volume "
    "is full, too: 'python -m infra status' says how full it is.",
}
"""For whoever reads the log of a pod, or runs a boot file: the settings are in the environment."""


@contextmanager
def explained(
    action: str,
    endpoint: str,
    advice: Advice,
    why: Callable[[], str] | None = None,
    full: Callable[[], str] | None = None,
) -> Iterator[None]:
    """Turn an error of boto3 into a StoreError that says what happened, and what to do.

    Errors of local files stay what they are (OSError).

    Args:
        action: what is tried, after "Can't": `read 's3://bucket/key'`.
        endpoint: the store's, as in its URL.
        advice: in whose words to say what to do.
        why: says more of a store that can't be reached than boto3 can, if it is not empty.
        full: says of a store that fails that its disk is full, and what to do; empty: it is not.
    """
    try:
        yield
    except Exception as error:
        found = _kind_and_detail(error)
        if found is None:
            raise
        kind, detail = found
        if kind is Unreachable and why is not None:
            detail = why() or detail
        problem = _PROBLEMS[kind].format(endpoint=endpoint, detail=detail.rstrip("."))
        do = (full() if full and kind in (StoreError, Full) else "") or advice[kind]
        raise kind(f"Can't {action}: {problem.rstrip('.')}. {do}") from error


def _kind_and_detail(error: Exception) -> tuple[type[StoreError], str] | None:
    """Return which kind of error it is, and what the store or boto3 says; None of any other."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectionError,
        CredentialRetrievalError,
        HTTPClientError,
        IncompleteReadError,
        NoCredentialsError,
        PartialCredentialsError,
        SSLError,
        SSOError,
        TokenRetrievalError,
    )

    if isinstance(error, Boto3Error):
        # A transfer's: what was wrong is in the error that it was made of.
        cause = getattr(error, "last_exception", None) or error.__cause__ or error.__context__
        if isinstance(cause, Exception) and (found := _kind_and_detail(cause)):
            return found
    if isinstance(error, ClientError):
        answer = error.response.get("Error", {})
        code, message = str(answer.get("Code", "unknown")), answer.get("Message", "")
        kind = _KINDS.get(code, StoreError)
        return kind, f"{code}: {message}" if kind is StoreError else code
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return NoCredentials, ""
    if isinstance(error, CredentialRetrievalError | SSOError | TokenRetrievalError):
        return Expired, " ".join(str(error).split())
    if isinstance(error, SSLError):
        problem = str(error.kwargs["error"])
        # A connection that was cut says nothing of trust.
        return Unreachable if "EOF occurred" in problem else NotTrusted, problem
    # The last one: of a connection that was cut in the middle of an answer.
    if isinstance(error, ConnectionError | HTTPClientError | IncompleteReadError):
        return Unreachable, _in_words(error)
    # Of an endpoint that is not a URL, boto3 raises a plain ValueError.
    if isinstance(error, BotoCoreError | Boto3Error | ValueError):
        return BadSettings, " ".join(str(error).split())
    return None


_WORDS = {
    "ConnectTimeoutError": "it does not accept connections",
    "ReadTimeoutError": "it accepts connections, and is silent",
    "ConnectionClosedError": "it cuts connections",
}


def _in_words(error: Exception) -> str:
    """Return what is wrong with the way to a store: `Connection refused`."""
    name = type(error).__name__
    # What the system says is in urllib3's error, as `[Errno 111] Connection refused`.
    said = str(getattr(error, "kwargs", {}).get("error", ""))
    found = re.search(r"\[Errno -?\d+\] ([^)\]'\"]+)", said)
    return found[1].strip() if found else _WORDS.get(name, name)
