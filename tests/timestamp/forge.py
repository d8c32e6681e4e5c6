"""Time stamps made by hand, so that they can be wrong where `openssl ts` can't."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import algos, cms, tsp
from asn1crypto import x509 as asn1_x509

from archiver.pki.cms import sign_bytes
from archiver.pki.keyring import SigningKey
from tests.sealing import NOW


@dataclass(frozen=True, kw_only=True)
class Forged:
    """What the token is to say."""

    digest: str = "sha256"
    gen_time: datetime = NOW
    nonce: int | None = 7
    signed_digest: str = "sha256"
    attributes: bool = True
    accuracy_seconds: int | None = None
    version: str = "v1"


def forge(data: bytes, signer: SigningKey, wish: Forged | None = None) -> bytes:
    """A TimeStampResp over ``data`` by ``signer``, whatever its certificate is for."""
    wish = wish or Forged()
    info = tsp.TSTInfo(
        {
            "version": wish.version,
            "policy": "1.2.3.4",
            "message_imprint": {
                "hash_algorithm": {"algorithm": wish.digest},
                "hashed_message": hashlib.new(wish.digest, data).digest(),
            },
            "serial_number": 1,
            "gen_time": wish.gen_time,
            "nonce": wish.nonce,
            "accuracy": None
            if wish.accuracy_seconds is None
            else tsp.Accuracy({"seconds": wish.accuracy_seconds}),
        }
    ).dump()
    certificate = asn1_x509.Certificate.load(signer.certificate.der)
    attributes = cms.CMSAttributes(
        [
            {"type": "content_type", "values": ["tst_info"]},
            {
                "type": "message_digest",
                "values": [hashlib.new(wish.signed_digest, info).digest()],
            },
            {
                "type": "signing_certificate_v2",
                "values": [
                    tsp.SigningCertificateV2(
                        {"certs": [{"cert_hash": hashlib.sha256(signer.certificate.der).digest()}]}
                    )
                ],
            },
        ]
    )
    signature, digest = sign_bytes(signer.key, attributes.dump())
    algorithm = algos.DigestAlgorithm({"algorithm": wish.signed_digest})
    signer_info = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {
                    "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                        {
                            "issuer": certificate.issuer,
                            "serial_number": certificate.serial_number,
                        }
                    )
                }
            ),
            "digest_algorithm": algorithm,
            "signed_attrs": attributes if wish.attributes else None,
            "signature_algorithm": {"algorithm": f"{digest}_ecdsa"},
            "signature": signature,
        }
    )
    signed = cms.SignedData(
        {
            "version": "v3",
            "digest_algorithms": [algorithm],
            "encap_content_info": {"content_type": "tst_info", "content": tsp.TSTInfo.load(info)},
            "certificates": [
                certificate,
                *(asn1_x509.Certificate.load(one.der) for one in signer.chain),
            ],
            "signer_infos": [signer_info],
        }
    )
    answer = tsp.TimeStampResp(
        {
            "status": {"status": "granted"},
            "time_stamp_token": cms.ContentInfo({"content_type": "signed_data", "content": signed}),
        }
    )
    return bytes(answer.dump())
