"""What the prediction service's ports ask for and show: a certificate, and a token.

They lie in one Secret, which the pods mount: nothing of them is in a command line or a variable.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_kubernetes.core.v1 import Secret, SecretVolumeSourceArgs, VolumeArgs, VolumeMountArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from ..cluster import names
from ..resources.certificate import GeneratedCertificate

_FOLDER = "/etc/dlstack/access"
CERTIFICATE_FILE = f"{_FOLDER}/tls.crt"
KEY_FILE = f"{_FOLDER}/tls.key"
SSL_CONFIG_FILE = f"{_FOLDER}/ssl.pbtxt"
TOKEN_FILE = f"{_FOLDER}/token"
_GROUP_MAY_READ = 0o440


@dataclass(frozen=True, kw_only=True)
class AccessArgs:
    """TLS, with a certificate of the user's or a generated one, and a token or none."""

    namespace: pulumi.Input[str]
    instance: str
    """Value of the label `app.kubernetes.io/instance`."""
    certificate: str
    """PEM, with its chain; empty: one is made."""
    key: str = field(repr=False)
    """PEM; empty without a certificate."""
    hosts: Sequence[str]
    """Names and addresses that a certificate which is made is for."""
    token: str = field(repr=False)
    """What requests have to bring; empty: nothing."""


class Access(pulumi.ComponentResource):
    """The Secret, and what clients have to know."""

    authority: pulumi.Output[str] | None
    """PEM of the authority that signed a generated certificate; the user's own is for them to
    know."""
    has_token: bool
    volume: VolumeArgs
    mount: VolumeMountArgs

    def __init__(
        self, name: str, args: AccessArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("dlstack:access:Access", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.authority, self.has_token = None, bool(args.token)
        certificate = pulumi.Output.from_input(args.certificate)
        key: pulumi.Output[str] = pulumi.Output.secret(args.key)
        if not args.certificate:
            generated = GeneratedCertificate(f"{name}-certificate", hosts=args.hosts, opts=child)
            certificate, key = generated.certificate, generated.key
            self.authority = generated.authority
        files: dict[str, pulumi.Input[str]] = {
            "tls.crt": certificate,
            "tls.key": key,
            "ssl.pbtxt": pulumi.Output.all(certificate, key).apply(_ssl_config),
        }
        if args.token:
            files["token"] = pulumi.Output.secret(args.token)
        secret = Secret(
            f"{name}-files",
            # No fixed name: with another content it is another Secret, and so pods roll.
            metadata=ObjectMetaArgs(
                namespace=args.namespace, labels=names.labels(names.PREDICTION, args.instance)
            ),
            string_data=files,
            opts=pulumi.ResourceOptions.merge(
                child, pulumi.ResourceOptions(replace_on_changes=["*"])
            ),
        )
        # NAMESPACE/NAME. The output `metadata` is a secret, and would make one of the pods' specs.
        secret_name = secret.id.apply(lambda id_: str(id_).rpartition("/")[2])
        self.volume = VolumeArgs(
            name="access",
            secret=SecretVolumeSourceArgs(secret_name=secret_name, default_mode=_GROUP_MAY_READ),
        )
        self.mount = VolumeMountArgs(name="access", mount_path=_FOLDER, read_only=True)
        self.register_outputs({})


def _ssl_config(certificate_and_key: Sequence[str]) -> str:
    """Return TensorFlow Serving's SSLConfig, in which texts can be written as in JSON."""
    certificate, key = map(json.dumps, certificate_and_key)
    return f"server_cert: {certificate}\nserver_key: {key}\n"
