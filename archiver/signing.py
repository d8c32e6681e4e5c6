"""Signatures of bags: detached CMS with CAdES-BES attributes (RFC 5652, RFC 5035, ETSI EN 319 122).

Job: make and read signatures over the exact bytes of ``tagmanifest-sha512.txt``.
Limits: knows no bag and no anchors; who signed is for others to judge.
"""

from __future__ import annotations

from datetime import datetime

from archiver.i18n import N_
from archiver.pki.cms import CmsError, SignedData, check_signature, parse_signed_data
from archiver.pki.keyring import SigningKey

__all__ = ["check_manifest_signature", "sign_manifest"]


def sign_manifest(content: bytes, signer: SigningKey, now: datetime) -> bytes:
    """A signature (DER) over ``content``; it is checked before it is given out.

    Raises CmsError where what the key made doesn't hold.
    """
    signature = signer.sign(content, now)
    check_manifest_signature(parse_signed_data(signature), content)
    return signature


def check_manifest_signature(signed: SignedData, content: bytes) -> None:
    """Check that ``signed`` is a signature as ours are, over ``content``.

    Raises CmsError, and MismatchError where it was made over other bytes.
    """
    if signed.content is not None:
        raise CmsError(N_("it carries embedded content instead of signing this bag"))
    if signed.content_type != "data":
        raise CmsError(N_("it is a signature over something else than a file"))
    if not signed.names_certificate:
        raise CmsError(N_("it doesn't name its certificate (no signing-certificate-v2)"))
    check_signature(signed, content)
