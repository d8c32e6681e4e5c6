"""What a seal costs: `python -m benchmarks.seal`, beside openssl in the same run.

CPU time of this process (and, for openssl, of its children), medians of many rounds.
Keys are on P-256, as `archiver key new` makes them; the signed tag manifest is that of
a bag with a dozen tag files.
"""

import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_ROUNDS = 200
_CONTENT = "".join(
    f"{hashlib.sha512(bytes([number])).hexdigest()}  metadata/file-{number}.json\n"
    for number in range(12)
).encode()
_IMPORTS = "archiver.verify.seal, archiver.seal.proofs, archiver.seal.stamping"
_BASE = "archiver.verify, archiver.seal"


@dataclass(frozen=True)
class Cost:
    """One line of the table: milliseconds of CPU, and the limit that was set (or None)."""

    what: str
    milliseconds: float
    limit: float | None = None


def _median(work: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """Milliseconds of this process's CPU time for one call."""
    times = []
    for _number in range(rounds):
        begun = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - begun) / 1e6)
    return statistics.median(times)


def _children(command: list[str], rounds: int = 20) -> float:
    """Milliseconds of CPU time for one run of a program."""
    times = []
    for _number in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times.append(used * 1e3)
    return statistics.median(times)


def _imports() -> float:
    """Milliseconds that the imports for sealing and checking seals add to a process."""
    program = (
        f"import {_BASE}, time; begun = time.process_time_ns(); import {_IMPORTS};"
        " import rfc3161_client; print((time.process_time_ns() - begun) / 1e6)"
    )
    runs = [
        float(
            subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout
        )
        for _number in range(11)
    ]
    return statistics.median(runs)


def measure(place: Path) -> list[Cost]:
    """All costs; keys and files are made in ``place``."""
    from archiver.pki.anchors import Anchors, judge_signer
    from archiver.pki.cms import parse_signed_data
    from archiver.pki.keyring import NewSigner, create_authority, create_signer, open_signer
    from archiver.seal.proofs import sign_bag
    from archiver.signing import check_manifest_signature, sign_manifest

    now = datetime.now(UTC).replace(microsecond=0)
    keys, secret = str(place / "keys"), b"correct horse battery"
    authority = create_authority(keys, "Benchmark", secret, now)
    create_signer(keys, NewSigner(name="ana"), authority, secret, now)
    signer = open_signer("ana", [keys], lambda _place: secret, now)
    anchors = Anchors(certificates=(authority.certificate,))
    signature = sign_manifest(_CONTENT, signer, now)

    def check() -> None:
        signed = parse_signed_data(signature)
        check_manifest_signature(signed, _CONTENT)
        judge_signer(signed.certificate, signed.certificates, anchors, None, now)

    bags = iter(range(10_000))

    def seal() -> None:
        bag = place / "bags" / str(next(bags))
        bag.mkdir(parents=True)
        (bag / "tagmanifest-sha512.txt").write_bytes(_CONTENT)
        sign_bag(str(bag), [signer], now)

    costs = [
        Cost("seal a bag: signature and certificates, synced to disk", _median(seal), 10),
        Cost("of this: one signature, checked before it is given out",
             _median(lambda: sign_manifest(_CONTENT, signer, now))),
        Cost("check a seal: signature and path", _median(check), 10),
        Cost("imports, once per process", _imports(), 150),
        Cost("open a key (600,000 rounds of PBKDF2), once per process",
             _median(lambda: open_signer("ana", [keys], lambda _place: secret, now), 5)),
    ]  # fmt: skip
    return costs + _stamps(place, signature, now) + _openssl(place, authority.certificate.pem)


def _stamps(place: Path, signature: bytes, now: datetime) -> list[Cost]:
    """Checking a time stamp of the demonstration's TSA."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
    import demo_tsa

    from archiver.pki.certificates import read_certificates
    from archiver.timestamp.request import make_request
    from archiver.timestamp.token import Whence, check_token, judge_token, parse_answer

    demo_tsa.make_certificates(place / "tsa")
    answer = demo_tsa.stamp(place / "tsa", make_request(signature, 1))
    roots = read_certificates((place / "tsa/root.pem").read_bytes())

    def check() -> None:
        token = parse_answer(answer)
        check_token(token, signature)
        assert judge_token(token, roots, (), (), now).whence is Whence.TRUSTED

    return [Cost("check a time stamp: both readers and path", _median(check), 10)]


def _openssl(place: Path, anchor: bytes) -> list[Cost]:
    """The peer, as a process: it is started for each signature, and has no other way."""
    (place / "ca.pem").write_bytes(anchor)
    (place / "content").write_bytes(_CONTENT)
    (place / "secret").write_bytes(b"correct horse battery")
    plain, certificate = str(place / "plain.key"), str(place / "keys/ana.pem")
    subprocess.run(
        ["openssl", "pkey", "-in", str(place / "keys/ana.key"), "-passin",
         f"file:{place / 'secret'}", "-out", plain],
        check=True, capture_output=True,
    )  # fmt: skip
    sign = ["openssl", "cms", "-sign", "-cades", "-binary", "-in", str(place / "content"),
            "-signer", certificate, "-inkey", plain, "-outform", "DER",
            "-out", str(place / "p7s")]  # fmt: skip
    verify = ["openssl", "cms", "-verify", "-cades", "-binary", "-inform", "DER",
              "-in", str(place / "p7s"), "-content", str(place / "content"),
              "-CAfile", str(place / "ca.pem"), "-purpose", "any", "-out", os.devnull]  # fmt: skip
    return [
        Cost("openssl cms -sign (a process each)", _children(sign)),
        Cost("openssl cms -verify (a process each)", _children(verify)),
    ]


def table(costs: list[Cost]) -> str:
    """The costs in Markdown."""
    lines = ["| what | CPU, ms | target, ms |", "|---|---|---|"]
    for cost in costs:
        limit = "" if cost.limit is None else f"≤ {cost.limit:g}"
        reached = "" if cost.limit is None or cost.milliseconds <= cost.limit else " MISSED"
        lines.append(f"| {cost.what} | {cost.milliseconds:.2f} | {limit}{reached} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Print the table, and write it to the files that are named."""
    with tempfile.TemporaryDirectory() as place:
        costs = measure(Path(place))
    text = table(costs)
    print(text, end="")
    for path in arguments:
        document = {cost.what: cost.milliseconds for cost in costs}
        content = text if path.endswith(".md") else json.dumps(document, indent=1) + "\n"
        Path(path).write_text(content, encoding="utf-8")
    missed = [cost for cost in costs if cost.limit is not None and cost.milliseconds > cost.limit]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
