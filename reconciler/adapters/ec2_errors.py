"""What EC2, STS and SSM answer when they refuse, translated into errors that name the next step."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from botocore import exceptions as botocore_errors
from botocore.exceptions import BotoCoreError, ClientError

from reconciler.errors import (
    Denied,
    HivequeenError,
    NoCapacity,
    QuotaReached,
    Refused,
    Throttled,
    TokenMismatch,
    TokenSpent,
    Transient,
)

MESSAGE_LENGTH_MAX = 400

THROTTLES: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)

UNKNOWN_INSTANCE: Final = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")
WRONG_STATE: Final = "IncorrectInstanceState"

# The request was not carried out or its answer is lost, although the status may say 4xx: nothing may be concluded.
_UNSETTLED: Final = frozenset(
    {
        "ConcurrentTagAccess",
        "InternalError",
        "InternalFailure",
        "InvalidInstanceID.NotFound",  # perhaps only not visible yet
        "InvalidNextToken",
        "InvalidPaginationToken",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "Unavailable",
        "Unknown",  # botocore's word for an answer without a code: a proxy may have given it
    }
)

_ELSEWHERE = "wait, or declare further instance types or subnets"
_NOT_OFFERED = "declare an instance type that this subnet's availability zone offers"
_LAUNCHES = ("RunInstances", "StartInstances")
NO_CAPACITY: Final[Mapping[str, str]] = {
    "InsufficientCapacity": _ELSEWHERE,
    "InsufficientFreeAddressesInSubnet": "free addresses in the subnet, or declare another one",
    "InsufficientHostCapacity": _ELSEWHERE,
    "InsufficientInstanceCapacity": _ELSEWHERE,
    "InsufficientReservedInstanceCapacity": _ELSEWHERE,
    "InstanceTypeNotSupported": _NOT_OFFERED,
    "Unsupported": _NOT_OFFERED,
}

_CREDENTIALS = "check the daemon's AWS credentials (environment, shared file or instance profile)"
_CLOCK = "set this machine's clock (NTP): EC2 refuses requests that are more than five minutes off"

_DENIED: Final[Mapping[str, str]] = {
    "AccessDenied": "allow it in the daemon's IAM policy",
    "AccessDeniedException": "allow it in the daemon's IAM policy",
    "AuthFailure": _CREDENTIALS + "; if they are right, " + _CLOCK,
    "Blocked": "the AWS account is blocked: contact AWS support",
    "ExpiredToken": "renew the daemon's session credentials",
    "ExpiredTokenException": "renew the daemon's session credentials",
    "IncompleteSignature": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "InvalidSignatureException": _CREDENTIALS + "; if they are right, " + _CLOCK,
    "MissingAuthenticationToken": _CREDENTIALS,
    "OptInRequired": "subscribe the AWS account to what the message names, such as a Marketplace image or the region",
    "RequestExpired": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "SignatureDoesNotMatch": _CREDENTIALS + "; if they are right, " + _CLOCK,
    "UnauthorizedOperation": "allow it in the daemon's IAM policy",
    "UnrecognizedClientException": _CREDENTIALS,
}

# After these, the next request is made with credentials that are looked up anew.
STALE_CREDENTIALS: Final = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "NoCredentials",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)

# The same request may succeed later: others go, or somebody raises the quota.
_QUOTA: Final[Mapping[str, str]] = {
    "InstanceLimitExceeded": "raise the EC2 quota or lower the role's count",
    "MaxIOPSLimitExceeded": "raise the EBS quota or declare a smaller root_volume",
    "MaxSpotInstanceCountExceeded": "raise the EC2 Spot quota or lower the role's count",
    "NetworkInterfaceLimitExceeded": "raise the VPC quota of network interfaces or lower the role's count",
    "PendingVerification": "wait until AWS has verified the account (at most four hours), then ask AWS support",
    "ResourceCountExceeded": "raise the role's count in smaller steps: EC2 allows only so many in one request",
    "VcpuLimitExceeded": "raise the EC2 vCPU quota of this instance family or lower the role's count",
    "VolumeLimitExceeded": "raise the EBS quota or declare a smaller root_volume",
}

_IMAGE = "declare an image that exists in this region and is shared with this account"
_REFUSED: Final[Mapping[str, str]] = {
    "InvalidAMIID.Malformed": _IMAGE,
    "InvalidAMIID.NotFound": _IMAGE,
    "InvalidAMIID.Unavailable": _IMAGE,
    "InvalidBlockDeviceMapping": "declare a root_volume that is at least as large as the image's",
    "InvalidGroup.NotFound": "declare security groups that exist in the subnet's VPC",
    "InvalidGroupId.Malformed": "declare security groups by id (sg-…)",
    "InvalidKeyPair.NotFound": "declare a key_name that exists in this region",
    "InvalidParameterCombination": "correct the role's launch parameters, which EC2 does not take together",
    "InvalidParameterValue": "correct the value that the message names",
    "InvalidSecurityGroupID.NotFound": "declare security groups that exist in the subnet's VPC",
    "InvalidSubnet": "declare a subnet that exists in this region",
    "InvalidSubnetID.NotFound": "declare a subnet that exists in this region",
    "OperationNotPermitted": "switch off the instance's termination protection, if it really is to go",
    "ParameterNotFound": "declare an SSM parameter that exists in this region and account",
    "TagLimitExceeded": "declare fewer tags: EC2 allows 50 on a resource",
    "VolumeTypeNotAvailableInZone": "declare a root_volume type that the subnet's availability zone offers",
}


def code_of(error: ClientError) -> str:
    """EC2's own name of the error; "Unknown" when the answer bore none."""
    return str(error.response.get("Error", {}).get("Code") or "Unknown")


def is_throttle(code: str, status: int) -> bool:
    return code in THROTTLES or status == HTTPStatus.TOO_MANY_REQUESTS


def request_result(code: str, status: int) -> str:
    """The `result` label of one answered request: "ok", "refused", "throttled", "unreachable"."""
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return "ok"
    if is_throttle(code, status):
        return "throttled"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and code not in NO_CAPACITY:
        return "unreachable"
    return "refused"


def translate_answer(service: str, operation: str, error: ClientError) -> HivequeenError:
    """An answer that was received and is an error."""
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = f"{service} {operation}: {code}: {_legible(str(error.response.get('Error', {}).get('Message') or ''))}"
    translated: HivequeenError
    if is_throttle(code, status):
        translated = Throttled(message)
    elif code == "IdempotentParameterMismatch":
        translated = TokenMismatch(message, code=code)
    elif code == "IdempotentInstanceTerminated":
        translated = TokenSpent(message, code=code)
    elif operation in _LAUNCHES and code in NO_CAPACITY:
        translated = NoCapacity(message, code=code, remedy=NO_CAPACITY[code])
    elif code in _DENIED:
        translated = Denied(message, code=code, remedy=_DENIED[code])
    elif code in _QUOTA:
        translated = QuotaReached(message, code=code, remedy=_QUOTA[code])
    elif code in _UNSETTLED or not HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
        translated = Transient(message)
    else:
        translated = Refused(message, code=code, remedy=_REFUSED.get(code, "see the code in the EC2 API reference"))
    return translated


def translate_failure(service: str, operation: str, error: Exception) -> HivequeenError:
    """No answer, or none that could be read."""
    message = f"{service} {operation}: {_legible(str(error))}"
    match error:
        case (
            botocore_errors.NoCredentialsError()
            | botocore_errors.PartialCredentialsError()
            | botocore_errors.ProfileNotFound()
        ):
            return Denied(message, code="NoCredentials", remedy=_CREDENTIALS)
        case botocore_errors.ParamValidationError():
            return Refused(message, code="ParamValidation", remedy="correct the declared value; nothing was sent")
        case botocore_errors.SSLError():
            return Transient(
                message, remedy="check the endpoint's certificate and this machine's authorities and clock"
            )
        case BotoCoreError():
            return Transient(message, remedy="check network, DNS and aws.endpoint_url if it persists")
        case _:  # an answer that is no XML: half of one, or a proxy's page
            return Transient(message)


def _legible(text: str) -> str:
    """One line of bounded length, without the encoded blob that only `sts decode-authorization-message` can read."""
    without_blob = text.split("Encoded authorization failure message", 1)[0]
    return re.sub(r"\s+", " ", without_blob).strip()[:MESSAGE_LENGTH_MAX]
