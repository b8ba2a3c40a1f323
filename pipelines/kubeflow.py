"""The connection to a Kubeflow Pipelines server: where it is, who asks, and what its answers mean in one line."""

import argparse
import codecs
import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from longtail.errors import InputError
from longtail.tracking.redaction import redact

HOST, TOKEN, NAMESPACE, CERTIFICATES = "LONGTAIL_KFP_HOST", "KFP_TOKEN", "LONGTAIL_KFP_NAMESPACE", "LONGTAIL_KFP_CA"
OLDEST = (2, 17)
"""Earlier servers have known holes in what separates namespaces from each other."""
_POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TIMEOUT_SECONDS = (5, 60)  # to connect, to answer
_WAIT_SECONDS = 0.3  # before the second retry, then twice as long each time
_PAGE = 100


class UnreachableError(InputError):
    """The server does not answer, or says that it cannot at the moment."""


class Kubeflow:
    """A server that answered, is new enough and let us in.

    Attributes:
        host: Its address.
        namespace: Where runs live; empty on a server for one user.
        version: Its version; empty if it does not say.
        runs: Its runs, as the other attributes a typed interface of `kfp_server_api`.
    """

    def __init__(self, host: str, client: Any, namespace: str, version: str) -> None:
        import kfp_server_api as api

        self.host, self.namespace, self.version, self._client = host, namespace, version, client
        self.runs = api.RunServiceApi(client)
        self.recurring_runs = api.RecurringRunServiceApi(client)
        self.experiments = api.ExperimentServiceApi(client)
        self.pipelines = api.PipelineServiceApi(client)
        self.uploads = api.PipelineUploadServiceApi(client)

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return what a function of a typed interface does.

        Raises:
            InputError: If the server cannot be reached or refuses.
        """
        return _call(self.host, function, *arguments, **options)

    def every(self, function: Callable[..., Any], field: str, **options: Any) -> Iterator[Any]:
        """Yield everything that a function lists, page after page.

        Args:
            function: One that lists.
            field: Where its answer keeps what is listed.
            **options: Its options, such as a filter.

        Yields:
            What is listed.
        """
        token = ""
        while True:
            page = self.call(function, page_size=_PAGE, page_token=token, **options)
            yield from getattr(page, field) or ()
            token = page.next_page_token or ""
            if not token:
                return

    def named(self, function: Callable[..., Any], field: str, name: str, **options: Any) -> list[Any]:
        """Return what a function lists of a name; `options` as for `every`."""
        equal = {"operation": "EQUALS", "key": "display_name", "string_value": name}
        found = self.every(function, field, filter=json.dumps({"predicates": [equal]}), **options)
        return [item for item in found if item.display_name == name]

    def text(self, path: str) -> Iterator[str]:
        """Yield the text at a path that no typed interface has, in pieces as they come.

        Yields:
            Pieces of text.
        """
        response = self.call(
            self._client.call_api,
            path,
            "GET",
            auth_settings=["Bearer"],
            response_type=None,
            _preload_content=False,
            _return_http_data_only=True,
        )
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for piece in response.stream(decode_content=True):
            yield decoder.decode(piece)

    def page(self, place: str) -> str:
        """Return the address of a page of the server's own pages."""
        return f"{os.environ.get('KF_PIPELINES_UI_ENDPOINT') or self.host}/#/{place}".replace("//#", "/#")


def connect(arguments: argparse.Namespace) -> Kubeflow:
    """Return the connection that the options of `add_connection` ask for.

    Raises:
        InputError: If no server is named, it cannot be reached, it is too old or it refuses.
    """
    import kfp_server_api as api

    host = (arguments.host or os.environ.get(HOST, "")).rstrip("/")
    if not host:
        raise InputError(f"no Kubeflow Pipelines server is named: give --host http(s)://HOST:PORT or set {HOST}")
    if urlsplit(host).scheme not in ("http", "https") or not urlsplit(host).hostname or redact(host) != host:
        raise InputError(
            f"Kubeflow host {redact(host)!r} is malformed: give http(s)://HOST:PORT; a token goes in {TOKEN}"
        )
    client = api.ApiClient(_configuration(host, arguments))
    server = _health(host, client)
    version = _version(host, server.get("tag_name", ""))
    namespace = arguments.namespace or os.environ.get(NAMESPACE, "")
    if not namespace and server.get("multi_user"):
        namespace = _POD_NAMESPACE.read_text(encoding="utf-8").strip() if _POD_NAMESPACE.is_file() else ""
        if not namespace:
            raise InputError(f"{host} serves many users: give --namespace or set {NAMESPACE}")
    return Kubeflow(host, client, namespace, version)


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which server and who asks."""
    group = parser.add_argument_group("Kubeflow Pipelines server", f"The token comes from {TOKEN} or a file.")
    group.add_argument("--host", default="", metavar="URL", help=f"address of the server (default: {HOST})")
    group.add_argument("--namespace", default="", help=f"namespace on a server of many users (default: {NAMESPACE})")
    group.add_argument(
        "--token-file", default="", metavar="FILE", help="token, read again at every request (default: the pod's own)"
    )
    group.add_argument("--ca", default="", metavar="FILE", help=f"certificates to trust, PEM (default: {CERTIFICATES})")


def _configuration(host: str, arguments: argparse.Namespace) -> Any:
    import kfp_server_api as api
    import urllib3
    from kfp.client import ServiceAccountTokenVolumeCredentials

    configuration = api.Configuration(host=host)
    configuration.retries = urllib3.Retry(
        total=3,
        redirect=0,
        backoff_factor=_WAIT_SECONDS,
        backoff_jitter=_WAIT_SECONDS,
        status_forcelist=(429, 502, 503, 504),
        # A request that makes something may have done so before its answer was lost, so it is never sent twice.
        allowed_methods=("GET", "DELETE"),
        raise_on_redirect=False,
        raise_on_status=False,
    )
    if certificates := arguments.ca or os.environ.get(CERTIFICATES, ""):
        configuration.ssl_ca_cert = _readable(certificates, "certificates")
    file = arguments.token_file or os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", "")
    if not file and not os.environ.get(TOKEN) and _POD_TOKEN.is_file():
        file = str(_POD_TOKEN)
    if file:
        configuration.refresh_api_key_hook = ServiceAccountTokenVolumeCredentials(
            _readable(file, "token")
        ).refresh_api_key_hook
    if file or os.environ.get(TOKEN):
        configuration.api_key["authorization"] = os.environ.get(TOKEN, "").strip() or "placeholder"
        configuration.api_key_prefix["authorization"] = "Bearer"
    return configuration


def _readable(path: str, what: str) -> str:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{what} file {path!r} cannot be read ({error.strerror}): give a readable file") from None
    return path


def _health(host: str, client: Any) -> dict[str, Any]:
    """Return what the server says of itself, of which the typed answer leaves out the version."""
    import kfp_server_api as api

    response = _call(host, api.HealthzServiceApi(client).healthz_service_get_healthz, _preload_content=False)
    with contextlib.suppress(ValueError):
        server = json.loads(response.data)
        if isinstance(server, dict):
            return server
    raise InputError(f"{host} answers with a page, not with Kubeflow's API: {_LOGIN}")


_LOGIN = f"if a login stands before it, set {TOKEN}; else correct --host"


def _version(host: str, tag: str) -> str:
    """Return the version in a tag, if there is one in it and it is new enough."""
    match = re.match(r"v?((\d+)\.(\d+)\S*)", tag)
    if match and (int(match[2]), int(match[3])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise InputError(f"{host} is Kubeflow Pipelines {match[1]}: {oldest} or newer is needed, upgrade the server")
    return match[1] if match else ""


def _call(host: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    import kfp_server_api as api
    import urllib3

    try:
        return function(*arguments, _request_timeout=_TIMEOUT_SECONDS, **options)
    except api.ApiException as error:
        kind = UnreachableError if error.status in (429, 502, 503, 504) else InputError
        raise kind(_refusal(host, error)) from None
    except urllib3.exceptions.HTTPError as error:
        reason = type(getattr(error, "reason", None) or error).__name__
        raise UnreachableError(f"{host} does not answer ({reason}): check --host, the network and --ca") from None
    except OSError as error:
        raise InputError(f"{host} cannot be asked ({error.strerror}): check the token file") from None


def _refusal(host: str, error: Any) -> str:
    status = error.status or 0
    if status in (301, 302, 303, 307, 308):
        return f"{host} sends elsewhere ({status}): {_LOGIN}"
    if status == 401:
        return f"{host} does not know who asks (401): set {TOKEN} to a valid token, or give --token-file"
    if status == 403:
        return f"{host} forbids it (403): ask for the right to it in this namespace, or give another --namespace"
    if not status:
        return f"{host} does not answer ({str(error.reason).splitlines()[0]}): check --ca and the server's certificate"
    try:
        said = json.loads(error.body)["message"]
    except (ValueError, TypeError, KeyError):
        said = str(error.reason)
    said = " ".join(str(redact(said)).split())[:300]
    return f"{host} refuses ({status}): {said}"
