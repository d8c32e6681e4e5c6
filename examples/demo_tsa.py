"""A time-stamping authority for demonstrations and tests: `openssl ts -reply` behind HTTP.

    python3 demo_tsa.py DIR

makes a root and a TSA certificate in DIR (once), listens on a loopback port, prints its
address, and answers until it is ended. Nobody should believe its stamps: whoever has DIR
can stamp whatever they like. The root to pin is DIR/root.pem.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CONFIG = """\
[tsa]
default_tsa = this
[this]
serial = {directory}/serial
default_policy = 1.3.6.1.4.1.13762.3
digests = sha256, sha384, sha512
signer_digest = sha256
ess_cert_id_alg = sha256
ess_cert_id_chain = no
accuracy = secs:1
ordering = no
tsa_name = no
clock_precision_digits = 0
"""


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def make_certificates(
    directory: Path,
    *,
    name: str = "demonstration",
    first: datetime | None = None,
    last: datetime | None = None,
) -> None:
    """A root and a TSA certificate under it; ``first`` and ``last`` are the TSA's dates."""
    now = datetime.now(UTC)
    root_key, key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = _name(f"{name} root: do not trust"), _name(f"{name} TSA: do not trust")
    root = (
        x509.CertificateBuilder()
        .subject_name(issuer)
        .issuer_name(issuer)
        .public_key(root_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=3650))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root_key, hashes.SHA384())
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first or now - timedelta(days=1))
        .not_valid_after(last or now + timedelta(days=3649))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .sign(root_key, hashes.SHA384())
    )
    directory.mkdir(parents=True, exist_ok=True)
    for path, one in (("root.pem", root), ("tsa.pem", certificate)):
        (directory / path).write_bytes(one.public_bytes(Encoding.PEM))
    for path, secret in (("root.key", root_key), ("tsa.key", key)):
        (directory / path).write_bytes(
            secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        (directory / path).chmod(0o600)
    (directory / "tsa.cnf").write_text(CONFIG.format(directory=directory))


def stamp(directory: Path, query: bytes) -> bytes:
    """The real `openssl ts -reply`."""
    request = directory / f"query-{threading.get_ident()}.tsq"
    request.write_bytes(query)
    try:
        return subprocess.run(
            [  # whichever openssl there is
                "openssl",
                "ts",
                "-reply",
                *("-config", directory / "tsa.cnf"),
                *("-queryfile", request),
                *("-signer", directory / "tsa.pem"),
                *("-inkey", directory / "tsa.key"),
            ],
            capture_output=True,
            check=True,
        ).stdout
    finally:
        request.unlink()


class Tsa:
    """A server on a loopback port, running in a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.requests = 0
        self.lock = threading.Lock()
        if not (directory / "tsa.pem").exists():
            make_certificates(directory)
        tsa = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                tsa.answer(self, self.rfile.read(min(length, 1 << 16)))

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def answer(self, handler: BaseHTTPRequestHandler, query: bytes) -> None:
        """Answer one request."""
        with self.lock:  # openssl counts serial numbers in a file
            self.requests += 1
            body = stamp(self.directory, query)
        handler.send_response(200)
        handler.send_header("Content-Type", "application/timestamp-reply")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def main() -> None:
    """Serve until ended."""
    with Tsa(Path(sys.argv[1]).resolve()) as tsa:
        print(tsa.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
