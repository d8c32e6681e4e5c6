"""Policies: what is asked of bags, read from TOML into frozen values.

Job: find, read, check and merge policy files. Limits: knows nothing of what it
judges; every later part adds its keys to :data:`~archiver.policy.model.TABLES` through its
dataclass.
"""

from __future__ import annotations

from archiver.policy.check import FieldCheck, Mistake, MistakesError, Wrong
from archiver.policy.load import LoadedPolicy, load_policy, policy_names, read_policy
from archiver.policy.model import (
    AuditPolicy,
    BagPolicy,
    DescribePolicy,
    EncryptionPolicy,
    FormatPolicy,
    KeepPolicy,
    Policy,
    ProofPolicy,
    ScanPolicy,
    SidecarPolicy,
    WatchPolicy,
)

__all__ = [
    "AuditPolicy",
    "BagPolicy",
    "DescribePolicy",
    "EncryptionPolicy",
    "FieldCheck",
    "FormatPolicy",
    "KeepPolicy",
    "LoadedPolicy",
    "Mistake",
    "MistakesError",
    "Policy",
    "ProofPolicy",
    "ScanPolicy",
    "SidecarPolicy",
    "WatchPolicy",
    "Wrong",
    "load_policy",
    "policy_names",
    "read_policy",
]
