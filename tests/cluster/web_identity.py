"""Credentials of a pod's service account, as AWS's clusters give them: no stack has a key.

A webhook adds to the pods of a service account that has a role what EKS' pod identity webhook adds:
a token of its own, and the variables by which boto3 finds it. A security token service changes such
a token for credentials that expire, once the cluster has said whose token it is.
"""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from tests.certificates import issue

ROLE = "arn:aws:iam::123456789012:role/training"
_AUDIENCE = "sts.amazonaws.com"
_FOLDER = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
_ANSWER = """\
<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult>
<AssumedRoleUser><Arn>{role}/boto</Arn><AssumedRoleId>AROA:boto</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>{access}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>
<SessionToken>{token}</SessionToken><Expiration>{until}</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>
"""


@dataclass
class WebIdentity:
    """The two services, of one namespace and one service account."""

    account: str
    """`system:serviceaccount:NAMESPACE:NAME`, who alone may have the credentials."""
    credentials: Callable[[], tuple[str, str, str]]
    """Access key, secret key and session token as they are now."""
    reviewed: Callable[[dict[str, Any]], dict[str, Any]]
    """Asks the cluster whose a token is: a TokenReview, and its answer."""
    sts_url: str = ""
    asked: list[str] = field(default_factory=list)
    """Whose tokens were changed for credentials."""

    def changed(self, form: dict[str, list[str]]) -> str:
        """The answer to AssumeRoleWithWebIdentity; empty: refused."""
        spec = {"token": form["WebIdentityToken"][0], "audiences": [_AUDIENCE]}
        status = self.reviewed(
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        )["status"]
        who = status.get("user", {}).get("username", "")
        if not status.get("authenticated") or (who, form["RoleArn"]) != (self.account, [ROLE]):
            return ""
        self.asked.append(who)
        access, secret, token = self.credentials()
        until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return _ANSWER.format(role=ROLE, access=access, secret=secret, token=token, until=until)

    def patch(self, pod: dict[str, Any]) -> list[dict[str, Any]]:
        """What the webhook changes in a pod, as a JSON patch."""
        if pod["spec"].get("serviceAccountName") != self.account.rpartition(":")[2]:
            return []
        variables = {
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": f"{_FOLDER}/token",
            # AWS's own is found by the region.
            "AWS_ENDPOINT_URL_STS": self.sts_url,
        }
        token = {"audience": _AUDIENCE, "expirationSeconds": 86400, "path": "token"}
        volume = {
            "name": "aws-iam-token",
            "projected": {"sources": [{"serviceAccountToken": token}]},
        }
        mount = {"name": "aws-iam-token", "mountPath": _FOLDER, "readOnly": True}
        found = [_add("/spec/volumes", pod["spec"].get("volumes"), volume)]
        for kind in ("initContainers", "containers"):
            for number, container in enumerate(pod["spec"].get(kind, ())):
                place = f"/spec/{kind}/{number}"
                env = [{"name": name, "value": value} for name, value in variables.items()]
                found.append(_add(f"{place}/env", container.get("env"), *env))
                found.append(_add(f"{place}/volumeMounts", container.get("volumeMounts"), mount))
        return found


def _add(place: str, there: list[Any] | None, *more: Any) -> dict[str, Any]:
    return {"op": "add", "path": place, "value": [*(there or ()), *more]}


@contextmanager
def served(folder: Path, address: str, identity: WebIdentity) -> Iterator[dict[str, Any]]:
    """Run the two at an address that API server and pods reach; give the webhook's description.

    Args:
        folder: for the webhook's certificate.
        address: of this machine.
        identity: whose address of the token service is set.
    """
    authority = issue(folder, "webhook-authority", None)
    pem = issue(folder, "webhook", authority, address).pem
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem.certificate, pem.key)

    def mutated(body: bytes) -> tuple[int, bytes]:
        review = json.loads(body)
        request = review["request"]
        patch = json.dumps(identity.patch(request["object"])).encode()
        response = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch"}
        response["patch"] = base64.b64encode(patch).decode()
        return 200, json.dumps({**review, "request": None, "response": response}).encode()

    def assumed(body: bytes) -> tuple[int, bytes]:
        answer = identity.changed(parse_qs(body.decode()))
        return (200 if answer else 403), answer.encode()

    with _serving(address, mutated, context) as port, _serving(address, assumed) as sts:
        identity.sts_url = f"http://{address}:{sts}"
        bundle = base64.b64encode(authority.pem.certificate.read_bytes()).decode()
        rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"]}
        yield {
            "name": "pod-identity-webhook.example.com",
            "clientConfig": {"url": f"https://{address}:{port}/mutate", "caBundle": bundle},
            "rules": [{**rule, "resources": ["pods"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        }


@contextmanager
def _serving(
    address: str,
    answer: Callable[[bytes], tuple[int, bytes]],
    context: ssl.SSLContext | None = None,
) -> Iterator[int]:
    """Answer each POST; give the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if context else "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer((address, 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
