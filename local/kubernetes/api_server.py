"""The cluster's API server as its administrator asks it, and what is asked of it by kubectl."""

import ssl
import subprocess
import textwrap
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from ..build.programs import Programs
from ..console import LocalError
from ..machine.ranges import Ranges
from .configuration import server_url
from .pki import Authority

_SECONDS = 2


@dataclass(frozen=True)
class ApiServer:
    folder: Path
    """Of the cluster."""
    ranges: Ranges
    programs: Programs

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "pki" / "admin.kubeconfig"

    def get(self, path: str) -> bytes | None:
        """Body of a GET; None when there is no such answer."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str) -> bytes | None:
        """Body of the answer; None if it gave none or refused."""
        authority = Authority(self.folder / "pki")
        context = ssl.create_default_context(cafile=str(authority.certificate))
        context.load_cert_chain(*authority.issue("admin", "admin", "system:masters"))
        try:
            request = urllib.request.Request(server_url(self.ranges) + path, method=method)
            answer = urllib.request.urlopen(request, context=context, timeout=_SECONDS)
            return bytes(answer.read())
        except (urllib.error.URLError, OSError):
            return None

    def kubectl(self, *words: str, given: str | None = None) -> str:
        """Standard output of `kubectl WORDS`.

        Raises:
            LocalError: it failed; the message has its standard error.
        """
        done = subprocess.run(
            [*self.programs.command("kubectl"), f"--kubeconfig={self.kubeconfig}", *words],
            input=given,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise LocalError(
                f"`kubectl {' '.join(words)}` failed: {done.stderr.strip()}",
                f"See the logs in {self.folder / 'logs'}.",
            )
        return done.stdout

    def apply(self, *manifests: str) -> None:
        """Have these objects in the cluster.

        Raises:
            LocalError: one is refused.
        """
        # Forced: the files are the truth, also over what a person changed in the cluster.
        words = ("apply", "--server-side", "--force-conflicts", "--filename=-")
        self.kubectl(*words, given="---\n".join(manifests))

    def last_lines(self, pod: str) -> str:
        """The end of a pod's log, or of a Deployment's, in kube-system; empty if there is none."""
        try:
            said = self.kubectl("logs", "--namespace=kube-system", "--tail=10", pod)
        except LocalError:
            return ""
        return f"Its log ends with:\n{textwrap.indent(said, '    ')}" if said else ""
