"""A policy as a BagIt Profile, for other BagIt tools.

Job: what a profile can say of bags made by a policy. Limits: it can't say who signed, nor what
a description holds: those who need that ask ``archiver bag verify --policy``. Source: BagIt
Profiles Specification 1.4.0.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from archiver import __version__
from archiver.custody import CUSTODY_PATH
from archiver.describe import DESCRIPTION_PATH
from archiver.digest import ALGORITHMS
from archiver.policy import Policy
from archiver.verify.policy import IDENTITY_PATH

__all__ = ["bagit_profile"]

_SPECIFICATION = "1.4.0"
_SIGNED = "sha512"
_SERIALIZATIONS = ["application/zip", "application/tar", "application/x-tar", "application/gzip"]
_VERSIONS = ["0.93", "0.94", "0.95", "0.96", "0.97", "1.0"]


def bagit_profile(policy: Policy, identifier: str = "") -> dict[str, Any]:
    """The profile; ``identifier`` is the URI at which it will be found. Without one it is made
    from the rules, so that other rules have another name.
    """
    rules = _rules(policy)
    if not identifier:
        text = json.dumps(rules, sort_keys=True)
        identifier = uuid.uuid5(uuid.NAMESPACE_URL, text).urn
    return {
        "BagIt-Profile-Info": {
            "BagIt-Profile-Identifier": identifier,
            "BagIt-Profile-Version": _SPECIFICATION,
            "Source-Organization": f"archiver {__version__}",
            "External-Description": policy.description or policy.name,
            "Version": __version__,
        },
        **rules,
    }


def _rules(policy: Policy) -> dict[str, Any]:
    required = list(policy.bag.algorithms)
    known = list(dict.fromkeys([*required, *ALGORITHMS]))
    rules: dict[str, Any] = {
        "Bag-Info": _bag_info(policy),
        "Manifests-Required": required,
        "Manifests-Allowed": known,
        "Tag-Manifests-Allowed": known,
        "Allow-Fetch.txt": False,
        "Serialization": "optional",
        "Accept-Serialization": _SERIALIZATIONS,
        "Accept-BagIt-Version": _VERSIONS,
    }
    tag_files = _tag_files(policy)
    if tag_files:
        rules["Tag-Files-Required"] = tag_files
    if tag_files or policy.proof.signatures or policy.describe.required:
        rules["Tag-Manifests-Required"] = [_SIGNED]
    if policy.encryption.envelope:
        rules["Payload-Files-Required"] = [IDENTITY_PATH]
    return rules


def _bag_info(policy: Policy) -> dict[str, Any]:
    tags: dict[str, Any] = {
        "BagIt-Profile-Identifier": {"required": True, "repeatable": False},
        "Payload-Oxum": {"required": True, "repeatable": False},
        "Bagging-Date": {"required": True, "repeatable": False},
    }
    if policy.proof.signatures:
        tags["Archiver-Seal"] = {
            "required": True,
            "description": "sha256: and the fingerprint of a signer's certificate, once for each",
        }
    if policy.proof.time_stamps:
        tags["Archiver-Time-Stamp"] = {"required": True, "values": ["required"]}
    return tags


def _tag_files(policy: Policy) -> list[str]:
    """What lies under one name in every bag that satisfies the policy: a description can be
    encrypted under another, where anything is ever encrypted.
    """
    clear = policy.describe.required and policy.encryption.payload == "never"
    found = [DESCRIPTION_PATH] if clear else []
    return found + ([CUSTODY_PATH] if policy.scan.required else [])
