"""Errors of S3 and boto3 become a few kinds, each with one sentence on what to do.

What a real store answers is in test_refusals.py.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
from boto3.exceptions import RetriesExceededError, S3UploadFailedError
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)

from store import errors
from store.errors import (
    ENVIRONMENT,
    IN_STACK,
    PROGRAM,
    BadSettings,
    BucketTaken,
    Changed,
    Expired,
    Forbidden,
    Full,
    Gone,
    NoBucket,
    NoCredentials,
    NoObject,
    NotTrusted,
    NoUpload,
    StoreError,
    Unreachable,
    Unsupported,
    WrongAddressing,
    WrongClock,
    WrongCredentials,
    WrongRegion,
    explained,
)

URL = "http://store:8333"
CODES: Mapping[str, type[StoreError]] = {
    "NoSuchBucket": NoBucket,
    "NoSuchKey": NoObject,
    "NoSuchUpload": NoUpload,
    "NotFound": NoObject,
    "404": NoObject,
    "PreconditionFailed": Changed,
    "ConditionalRequestConflict": Changed,
    "412": Changed,
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
    "AuthorizationHeaderMalformed": WrongCredentials,
    "RequestTimeTooSkewed": WrongClock,
    "InvalidLocationConstraint": WrongRegion,
    "IllegalLocationConstraintException": WrongRegion,
    "PermanentRedirect": WrongRegion,
    "301": WrongRegion,
    "SecondLevelDomainForbidden": WrongAddressing,
    "VirtualHostDomainRequired": WrongAddressing,
    "NotImplemented": Unsupported,
    "MethodNotAllowed": Unsupported,
    "405": Unsupported,
    "501": Unsupported,
    "XMinioStorageFull": Full,
    "XMinioAdminBucketQuotaExceeded": Full,
    "QuotaExceeded": Full,
    "BucketQuotaExceeded": Full,
    "InsufficientStorage": Full,
    "InsufficientStorageSpace": Full,
    "InsufficientCapacity": Full,
    "NotEnoughSpace": Full,
    "507": Full,
    "InternalError": StoreError,
    "SlowDown": StoreError,
}


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "Said so."}}, "GetObject")


def told(error: Exception, advice: errors.Advice = ENVIRONMENT) -> StoreError:
    """What `error` becomes."""
    with pytest.raises(StoreError) as raised, explained("read 's3://b/k'", URL, advice):
        raise error
    assert raised.value.__cause__ is error
    text = str(raised.value)
    assert text.startswith("Can't read 's3://b/k': ") and text.endswith(".")
    assert "\n" not in text and ".." not in text
    return raised.value


@pytest.mark.parametrize("code", CODES)
def test_each_code_of_s3_is_of_one_kind(code: str) -> None:
    assert type(told(refusal(code))) is CODES[code]


def test_what_is_gone_can_be_caught_as_one() -> None:
    for code in ("NoSuchBucket", "NoSuchKey", "404"):
        assert isinstance(told(refusal(code)), Gone)


def test_a_code_that_nobody_knows_is_told_with_the_message_of_the_store() -> None:
    text = str(told(refusal("InternalError")))
    assert f"the object store at '{URL}' answers InternalError: Said so. Try again" in text


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (EndpointConnectionError(endpoint_url=URL), Unreachable, "(EndpointConnectionError)"),
        (
            EndpointConnectionError(endpoint_url=URL, error="<h>: [Errno 111] Connection refused"),
            Unreachable,
            "can't be reached (Connection refused)",
        ),
        (
            EndpointConnectionError(endpoint_url=URL, error="('no': [Errno -2] Name not known)"),
            Unreachable,
            "can't be reached (Name not known)",
        ),
        (ConnectTimeoutError(endpoint_url=URL), Unreachable, "it does not accept connections"),
        (ReadTimeoutError(endpoint_url=URL), Unreachable, "it accepts connections, and is silent"),
        (ResponseStreamingError(error="cut"), Unreachable, "(ResponseStreamingError)"),
        (SSLError(endpoint_url=URL, error="self-signed"), NotTrusted, "(self-signed)"),
        (NoCredentialsError(), NoCredentials, "no credentials for the object store"),
        (
            PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            NoCredentials,
            "no credentials for the object store",
        ),
        (ProfileNotFound(profile="work"), BadSettings, "profile (work) could not be found"),
        (ParamValidationError(report="bad\n  name"), BadSettings, "failed: bad name. Check"),
        (ValueError("Invalid endpoint: x"), BadSettings, "Invalid endpoint: x. Check"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_each_exception_of_boto3_is_of_one_kind(
    error: Exception, kind: type[StoreError], text: str
) -> None:
    found = told(error)
    assert type(found) is kind
    assert text in str(found)


def test_a_transfers_error_is_that_which_made_it_fail() -> None:
    try:
        try:
            raise refusal("AccessDenied")
        except ClientError as refused:
            raise S3UploadFailedError(f"Failed to upload: {refused}")  # noqa: B904 (as boto3 does)
    except S3UploadFailedError as failed:
        assert type(told(failed)) is Forbidden
    assert type(told(RetriesExceededError(ReadTimeoutError(endpoint_url=URL)))) is Unreachable
    assert type(told(S3UploadFailedError("for no reason"))) is BadSettings


@pytest.mark.parametrize("error", [FileNotFoundError("file"), KeyError("bug")])
def test_errors_of_files_and_mistakes_of_ours_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, explained("read", URL, ENVIRONMENT):
        raise error
    assert raised.value is error


def test_an_error_is_explained_once() -> None:
    first = told(refusal("403"))
    with pytest.raises(Forbidden) as raised, explained("do more", URL, PROGRAM):
        raise first
    assert raised.value is first


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "AccessDenied"])
def test_the_advice_is_in_the_words_of_the_reader(code: str) -> None:
    assert "AWS_ACCESS_KEY_ID" in str(told(refusal(code), ENVIRONMENT))
    assert "dlstack:" not in str(told(refusal(code), ENVIRONMENT))
    assert "dlstack:s3AccessKey" in str(told(refusal(code), PROGRAM))
    assert "AWS_ACCESS_KEY_ID" not in str(told(refusal(code), PROGRAM))


def test_of_the_stacks_own_store_no_setting_is_named() -> None:
    """Symptom: "check that dlstack:s3Endpoint is right", where no such key was set."""
    for error in (refusal("AccessDenied"), refusal("InvalidAccessKeyId"), ReadTimeoutError):
        raised = error if isinstance(error, ClientError) else error(endpoint_url=URL)
        assert "dlstack:s3" not in str(told(raised, IN_STACK))


@pytest.mark.parametrize("code", ["InternalError", "QuotaExceeded"])
def test_one_whose_disk_is_full_says_so_where_that_can_be_asked(code: str) -> None:
    """SeaweedFS answers InternalError then."""

    def told_of(full: str) -> str:
        with (
            pytest.raises(StoreError) as raised,
            explained("write 's3://b/k'", URL, IN_STACK, full=lambda: full),
        ):
            raise refusal(code)
        return str(raised.value)

    assert told_of("Its disk is full. Let it grow.").endswith(". Its disk is full. Let it grow.")
    assert "dlstack:storageSize has it grow." in told_of("")


def test_a_disk_is_not_asked_for_where_something_else_is_wrong() -> None:
    with (
        pytest.raises(Forbidden),
        explained("write 's3://b/k'", URL, IN_STACK, full=lambda: "The disk."),
    ):
        raise refusal("AccessDenied")


def test_every_kind_has_a_problem_and_advice_for_every_reader() -> None:
    kinds = {StoreError, BadSettings, NoCredentials, Unreachable, NotTrusted, *CODES.values()}
    for table in (errors._PROBLEMS, ENVIRONMENT, PROGRAM, IN_STACK):
        assert set(table) == kinds
    assert set(errors._KINDS) == {code for code, kind in CODES.items() if kind is not StoreError}


def test_local_files_are_not_mistaken_for_the_store(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), explained("upload", URL, PROGRAM):
        (tmp_path / "none").read_bytes()
