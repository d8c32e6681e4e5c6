"""Files that vouch for others beside them: ProofMode's, and C2PA's side-cars.

Job: say in both records what belongs together, by the names. Limits: nothing is opened,
nothing verified; the files are payload like any other, and kept whole.

ProofMode lays ``NAME.proof.json``, ``NAME.proof.csv`` and signatures (``.asc``) beside a
medium, NAME being the medium's or the SHA-256 of it, and ``pubkey.asc`` with them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from archiver.identify.record import FormatRecord

__all__ = ["with_companions"]

_PROOFS = (".proof.json", ".proof.csv")
_SIGNED = ".asc"
_MANIFEST = ".c2pa"
_NOT_VERIFIED = "not verified"


def with_companions(records: Iterable[FormatRecord]) -> list[FormatRecord]:
    """The same records, with ``proofmode`` and ``c2pa`` where such files lie beside."""
    given = list(records)
    names = {one.path for one in given}
    proven = {_folder(name) for name in names if name.endswith(_PROOFS)}
    return [_told(one, names, proven) if _may_belong(one.path, proven) else one for one in given]


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _may_belong(name: str, proven: set[str]) -> bool:
    return _folder(name) in proven or not name.endswith(_PROOFS)


def _told(record: FormatRecord, names: set[str], proven: set[str]) -> FormatRecord:
    name, more = record.path, {}
    if name.endswith(_MANIFEST):
        more["c2pa"] = f"side-car, {_NOT_VERIFIED}"
    elif any(beside in names for beside in (name + _MANIFEST, _stem(name) + _MANIFEST)):
        more["c2pa"] = record.provenance.get("c2pa") or f"beside it, {_NOT_VERIFIED}"
    if _folder(name) in proven:
        more |= _proofmode(name, names)
    return replace(record, provenance={**record.provenance, **more}) if more else record


def _stem(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return folder + slash + (last.rpartition(".")[0] or last)


def _proofmode(name: str, names: set[str]) -> dict[str, str]:
    last = name.rpartition("/")[2]
    if name.endswith(_PROOFS):
        return {"proofmode": f"proof, {_NOT_VERIFIED}"}
    if last == "pubkey.asc":
        return {"proofmode": f"key, {_NOT_VERIFIED}"}
    if last.endswith(_SIGNED):
        return {"proofmode": f"signature, {_NOT_VERIFIED}"}
    if any(name + ending in names or _stem(name) + ending in names for ending in _PROOFS):
        return {"proofmode": f"beside it, {_NOT_VERIFIED}"}
    return {}
