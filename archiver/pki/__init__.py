"""Keys, certificates and trust: what signatures and time stamps share.

Job: private keys and the directory they lie in, certificates and the paths
between them at a given time, the trust list, revocation, CMS structures.
Limits: knows no bag and no network; every cryptographic operation is done by
``cryptography``, every ASN.1 structure is read by ``asn1crypto``.
"""
