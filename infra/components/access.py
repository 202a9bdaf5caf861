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
    in_pods: bool = True
    """Whether pods encrypt; else what is before them does."""


class Access(pulumi.ComponentResource):
    """The Secret, and what clients have to know."""

    authority: pulumi.Output[str] | None
    """PEM of the authority that signed a generated certificate; the user's own is for them to
    know."""
    has_token: bool
    encrypts: bool
    """Whether pods do."""
    edge_secret: pulumi.Output[str] | None
    """Name of the Secret with the certificate of what is before the pods; None: it has its own."""
    volume: VolumeArgs | None
    """None: pods need nothing."""
    mount: VolumeMountArgs

    def __init__(
        self, name: str, args: AccessArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("dlstack:access:Access", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.authority, self.has_token = None, bool(args.token)
        self.encrypts, self.edge_secret, self.volume = args.in_pods, None, None
        certificate = pulumi.Output.from_input(args.certificate)
        key: pulumi.Output[str] = pulumi.Output.secret(args.key)
        if not args.certificate and args.in_pods:
            generated = GeneratedCertificate(f"{name}-certificate", hosts=args.hosts, opts=child)
            certificate, key = generated.certificate, generated.key
            self.authority = generated.authority
        pair: dict[str, pulumi.Input[str]] = {"tls.crt": certificate, "tls.key": key}
        files: dict[str, pulumi.Input[str]] = {}
        if args.in_pods:
            files = {**pair, "ssl.pbtxt": pulumi.Output.all(certificate, key).apply(_ssl_config)}
        elif args.certificate:
            self.edge_secret = _secret(f"{name}-edge", args, pair, child, "kubernetes.io/tls")
        if args.token:
            files["token"] = pulumi.Output.secret(args.token)
        if files:
            self.volume = VolumeArgs(
                name="access",
                secret=SecretVolumeSourceArgs(
                    secret_name=_secret(f"{name}-files", args, files, child),
                    default_mode=_GROUP_MAY_READ,
                ),
            )
        self.mount = VolumeMountArgs(name="access", mount_path=_FOLDER, read_only=True)
        self.register_outputs({})


def _secret(
    name: str,
    args: AccessArgs,
    files: dict[str, pulumi.Input[str]],
    child: pulumi.ResourceOptions,
    kind: str | None = None,
) -> pulumi.Output[str]:
    """Declare a Secret; return its name."""
    secret = Secret(
        name,
        # No fixed name: with another content it is another Secret, and so pods roll.
        metadata=ObjectMetaArgs(
            namespace=args.namespace, labels=names.labels(names.PREDICTION, args.instance)
        ),
        type=kind,
        string_data=files,
        opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(replace_on_changes=["*"])),
    )
    # NAMESPACE/NAME. The output `metadata` is a secret, and would make one of the pods' specs.
    return secret.id.apply(lambda id_: str(id_).rpartition("/")[2])


def _ssl_config(certificate_and_key: Sequence[str]) -> str:
    """Return TensorFlow Serving's SSLConfig, in which texts can be written as in JSON."""
    certificate, key = map(json.dumps, certificate_and_key)
    return f"server_cert: {certificate}\nserver_key: {key}\n"
