"""Who accepts whose signatures: archiver, openssl, GnuTLS, pyHanko (docs/proof.md)."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from archiver.pki.cms import PrivateKey
from archiver.pki.keyring import SigningKey
from tests.sealing import (
    SIGNER,
    Office,
    check,
    found,
    issue,
    make_source,
    new_ec,
    rsa_key,
    seal,
    signature_of,
    write_key,
)

KINDS = ("p256", "p384", "rsa")
SIGNED = "tagmanifest-sha512.txt"


def need(program: str) -> None:
    """The program, or a skip that says so; in CI there is no skipping."""
    if shutil.which(program) is None:
        if os.environ.get("ARCHIVER_CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="session", params=KINDS)
def signer(request: pytest.FixtureRequest, office: Office) -> SigningKey:
    makers: dict[str, Callable[[], PrivateKey]] = {
        "p256": new_ec,
        "p384": lambda: new_ec(ec.SECP384R1()),
        "rsa": rsa_key,
    }
    key = makers[request.param]()
    return issue(SIGNER, key, office.ca)


@pytest.fixture
def ours(signer: SigningKey, tmp_path: Path) -> Path:
    return seal(make_source(tmp_path / "source"), tmp_path / "bag", [signer])


@pytest.fixture
def anchor(office: Office, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(office.ca.certificate.pem)
    return path


def run(*command: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(part) for part in command], capture_output=True, check=False)


def openssl_accepts(signature: Path, content: Path, anchor: Path) -> bool:
    return (
        run(
            *("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", signature),
            *("-content", content, "-CAfile", anchor, "-purpose", "any", "-cades"),
            *("-out", os.devnull),
        ).returncode
        == 0
    )


def certtool_accepts(signature: Path, content: Path, anchor: Path) -> bool:
    return (
        run(
            *("certtool", "--p7-verify", "--inder", "--infile", signature),
            *("--load-data", content, "--load-ca-certificate", anchor),
        ).returncode
        == 0
    )


def pyhanko_accepts(signature: Path, content: Path, anchor: Path) -> bool:
    from pyhanko.sign.validation import async_validate_detached_cms
    from pyhanko_certvalidator import ValidationContext

    roots = [asn1_x509.Certificate.load(der) for der in pem_to_der(anchor)]
    try:
        info = cms.ContentInfo.load(signature.read_bytes(), strict=True)
        status = asyncio.run(
            async_validate_detached_cms(
                content.read_bytes(),
                info["content"],
                signer_validation_context=ValidationContext(trust_roots=roots),
            )
        )
    except Exception:
        return False
    return bool(status.intact and status.valid and status.trusted)


def pem_to_der(path: Path) -> list[bytes]:
    from archiver.pki.certificates import read_certificates

    return [one.der for one in read_certificates(path.read_bytes())]


ORACLES = {
    "openssl": openssl_accepts,
    "certtool": certtool_accepts,
    "pyhanko": pyhanko_accepts,
}


@pytest.mark.parametrize("oracle", sorted(ORACLES))
def test_what_we_sign_others_accept(
    oracle: str, ours: Path, signer: SigningKey, anchor: Path
) -> None:
    if oracle != "pyhanko":
        need(oracle)
    signature = signature_of(ours, signer)
    assert ORACLES[oracle](signature, ours / SIGNED, anchor)


@pytest.mark.parametrize("oracle", ["archiver", *sorted(ORACLES)])
@pytest.mark.parametrize("damage", ["content", "signature", "attribute", "other-ca"])
def test_what_is_tampered_with_all_refuse(
    oracle: str, damage: str, ours: Path, signer: SigningKey, anchor: Path, office: Office
) -> None:
    if oracle not in ("archiver", "pyhanko"):
        need(oracle)
    signature, content = signature_of(ours, signer), ours / SIGNED
    if damage == "content":
        content.write_bytes(content.read_bytes() + b"\n")
    elif damage == "other-ca":
        anchor.write_bytes(office.false_ca.certificate.pem)
    else:
        info = cms.ContentInfo.load(signature.read_bytes())
        inside = info["content"]["signer_infos"][0]
        part = inside["signature"] if damage == "signature" else inside["signed_attrs"]
        wanted = part.contents[-20:]
        data = bytearray(signature.read_bytes())
        data[data.rindex(wanted) + 19] ^= 1
        signature.write_bytes(bytes(data))
    if oracle == "archiver":
        trusted = office.false_ca if damage == "other-ca" else office.ca
        from archiver.pki.anchors import Anchors

        report = check(ours, Anchors(certificates=(trusted.certificate,)))
        assert report.exit_code == (4 if damage == "other-ca" else 1)
    else:
        assert not ORACLES[oracle](signature, content, anchor)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A bag of ours that nobody has signed."""
    return seal(make_source(tmp_path / "source"), tmp_path / "bare", [])


def accepted(bag: Path, office: Office) -> bool:
    report = check(bag, office.anchors())
    assert report.exit_code in (0, 4, 1), found(report)
    return report.exit_code == 0


@pytest.mark.parametrize("padding", ["plain", "pss"])
def test_what_openssl_signs_we_accept(
    padding: str, bare: Path, signer: SigningKey, office: Office, tmp_path: Path
) -> None:
    if padding == "pss":  # for RSA keys only
        signer = issue(SIGNER, rsa_key(), office.ca)
    key, certificate = write_key(signer, tmp_path / "keys", "ana")
    target = bare / "signatures" / "openssl.p7s"
    target.parent.mkdir()
    options = ("-keyopt", "rsa_padding_mode:pss") if padding == "pss" else ()
    done = run(
        *("openssl", "cms", "-sign", "-cades", "-binary", "-in", bare / SIGNED),
        *("-signer", certificate, "-inkey", key, "-outform", "DER", "-out", target),
        *("-md", "sha256", *options),
    )
    assert done.returncode == 0, done.stderr
    assert accepted(bare, office)
    (bare / "data/video.mp4").write_bytes(b"moved pictures!" * 100)
    from tests.sealing import regenerate

    regenerate(bare)
    assert check(bare, office.anchors()).exit_code == 1


@pytest.mark.parametrize("padding", ["plain", "pss"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_what_pyhanko_signs_we_accept(
    padding: str, digest: str, bare: Path, signer: SigningKey, office: Office
) -> None:
    if padding == "pss":  # for RSA keys only
        signer = issue(SIGNER, rsa_key(), office.ca)
    target = bare / "signatures" / "pyhanko.p7s"
    target.parent.mkdir()
    target.write_bytes(sign_with_pyhanko(signer, (bare / SIGNED).read_bytes(), digest, padding))
    assert accepted(bare, office)


@pytest.mark.parametrize("oracle", ["archiver", *sorted(ORACLES)])
def test_what_pyhanko_signed_and_somebody_changed_all_refuse(
    oracle: str, bare: Path, signer: SigningKey, office: Office, anchor: Path
) -> None:
    target = bare / "signatures" / "pyhanko.p7s"
    target.parent.mkdir()
    data = sign_with_pyhanko(signer, (bare / SIGNED).read_bytes(), "sha256", "plain")
    target.write_bytes(data)
    if oracle not in ("archiver", "pyhanko"):
        need(oracle)
    if oracle != "archiver":
        assert ORACLES[oracle](target, bare / SIGNED, anchor)
    info = cms.ContentInfo.load(data)
    part = info["content"]["signer_infos"][0]["signature"].contents
    changed = bytearray(data)
    changed[data.rindex(part) + len(part) - 1] ^= 1
    target.write_bytes(bytes(changed))
    if oracle == "archiver":
        assert check(bare, office.anchors()).exit_code in (1, 4)
    else:
        assert not ORACLES[oracle](target, bare / SIGNED, anchor)


def test_a_cms_without_any_signer_is_refused(bare: Path, office: Office) -> None:
    """Certificates only, as `openssl crl2pkcs7` makes them."""
    from archiver.pki.cms import CmsError, parse_signed_data

    signed = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [],
            "encap_content_info": {"content_type": "data"},
            "certificates": [asn1_x509.Certificate.load(office.ana.certificate.der)],
            "signer_infos": [],
        }
    )
    data = cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump()
    with pytest.raises(CmsError, match="one signer"):
        parse_signed_data(data)
    (bare / "signatures").mkdir()
    (bare / "signatures" / "none.p7s").write_bytes(data)
    assert check(bare, office.anchors()).exit_code == 4


def sign_with_pyhanko(signer: SigningKey, content: bytes, digest: str, padding: str) -> bytes:
    from pyhanko.sign import SimpleSigner
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    store: Any = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    store.register_multiple(asn1_x509.Certificate.load(one.der) for one in signer.chain)
    secret: Any = asn1_keys.PrivateKeyInfo.load(
        signer.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    )
    their = SimpleSigner(
        signing_cert=asn1_x509.Certificate.load(signer.certificate.der),
        signing_key=secret,
        cert_registry=store,
        prefer_pss=padding == "pss",
    )
    made = asyncio.run(
        their.async_sign_general_data(content, digest, detached=True, use_cades=True)
    )
    return bytes(made.dump())


def test_openssl_without_signed_attributes_is_refused(
    bare: Path, office: Office, tmp_path: Path
) -> None:
    """`openssl cms -verify -cades` accepts it: we don't, and VERIFY.txt counts for it."""
    signer = issue(SIGNER, new_ec(), office.ca)
    key, certificate = write_key(signer, tmp_path / "keys", "ana")
    target = bare / "signatures" / "openssl.p7s"
    target.parent.mkdir()
    done = run(
        *("openssl", "cms", "-sign", "-noattr", "-binary", "-in", bare / SIGNED),
        *("-signer", certificate, "-inkey", key, "-outform", "DER", "-out", target),
    )
    assert done.returncode == 0
    report = check(bare, office.anchors())
    assert report.exit_code == 4
    assert "E-SIG-004" in found(report)


@pytest.mark.parametrize(
    "options",
    [
        ("-nodetach", "-cades"),  # what it signs is embedded
        (),  # no signing-certificate-v2
        ("-cades", "-md", "sha1"),
        ("-cades", "-nocerts"),
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_other_signatures_of_openssl_are_refused(
    options: tuple[str, ...], bare: Path, office: Office, tmp_path: Path
) -> None:
    key, certificate = write_key(office.ana, tmp_path / "keys", "ana")
    target = bare / "signatures" / "openssl.p7s"
    target.parent.mkdir()
    done = run(
        *("openssl", "cms", "-sign", *options, "-binary", "-in", bare / SIGNED),
        *("-signer", certificate, "-inkey", key, "-outform", "DER", "-out", target),
    )
    assert done.returncode == 0, done.stderr
    assert check(bare, office.anchors()).exit_code == 4


def test_two_signers_in_one_file_are_refused(bare: Path, office: Office, tmp_path: Path) -> None:
    keys = [
        write_key(one, tmp_path / "keys", str(n)) for n, one in enumerate((office.ana, office.ben))
    ]
    target = bare / "signatures" / "openssl.p7s"
    target.parent.mkdir()
    signers = [part for key, pem in keys for part in ("-signer", pem, "-inkey", key)]
    done = run(
        *("openssl", "cms", "-sign", "-cades", "-binary", "-in", bare / SIGNED, *signers),
        *("-outform", "DER", "-out", target),
    )
    assert done.returncode == 0, done.stderr
    assert check(bare, office.anchors()).exit_code == 4


def test_a_certificate_without_any_key_usage_signs(bare: Path, tmp_path: Path) -> None:
    """RFC 5280 §4.2.1.3: without the extension the key isn't restricted; pinned exactly."""
    from archiver.pki.anchors import Anchors

    signer = issue(SIGNER, new_ec(), key_usage=None)
    key, certificate = write_key(signer, tmp_path / "keys", "own")
    target = bare / "signatures" / "own.p7s"
    target.parent.mkdir()
    done = run(
        *("openssl", "cms", "-sign", "-cades", "-binary", "-in", bare / SIGNED),
        *("-signer", certificate, "-inkey", key, "-outform", "DER", "-out", target),
    )
    assert done.returncode == 0, done.stderr
    assert check(bare, Anchors(certificates=(signer.certificate,))).exit_code == 0
