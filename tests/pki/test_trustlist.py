"""The trust list: signed, chained, never older than one that was seen."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archiver.errors import DestinationError, FormatError, KeyringError, UsageError
from archiver.pki import trustfiles
from archiver.pki.keyring import SigningKey
from archiver.pki.trustfiles import (
    add_signer,
    add_tsa_root,
    begin_list,
    locked,
    read_list,
    revoke_signer,
)
from archiver.pki.trustlist import TrustList, parse_trust_list, sign_trust_list
from archiver.verify.anchors import load_anchors, refuse_from_bag, remember_lists
from tests.sealing import (
    CA,
    DAY,
    ISSUING,
    NOW,
    SIGNER,
    TSA,
    Office,
    check,
    found,
    issue,
    make_source,
    new_ec,
    seal,
    usage,
)

CAN_SIGN = usage("key_cert_sign", "crl_sign", "digital_signature")


class House:
    """An organisation with a trust list in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self.ca = issue(CA, new_ec(), subject="House CA", key_usage=CAN_SIGN)
        self.ana = issue(SIGNER, new_ec(), self.ca)
        directory.mkdir()
        begin_list(self.directory, "House", self.ca, NOW)
        add_signer(self.directory, "ana", self.ana.certificate, self.ca, NOW)
        self.path = directory / "trust.json"

    def list(self) -> TrustList:
        return read_list(self.directory)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "keys")


def test_versions_are_chained(house: House) -> None:
    trust = house.list()
    assert (trust.version, trust.organisation) == (2, "House")
    before = parse_trust_list((Path(house.directory) / "trust/0001.json").read_bytes())
    assert (before.version, trust.previous) == (1, before.digest)
    entry = trust.find(house.ana.certificate.fingerprint)
    assert entry is not None
    assert (entry.name, entry.invalid_after) == ("ana", None)


def test_a_changed_history_is_noticed(house: House) -> None:
    add_tsa_root(house.directory, [house.ca.certificate], "", house.ca, NOW)
    other = issue(CA, new_ec(), subject="House CA", key_usage=CAN_SIGN)
    foreign = TrustList(organisation="House", version=1, issued_at=NOW, authority=other.certificate)
    history = Path(house.directory) / "trust"
    (history / "0001.json").write_bytes(sign_trust_list(foreign, other, NOW))
    with pytest.raises(KeyringError, match="0001"):
        house.list()
    (history / "0001.json").unlink()
    assert house.list().version == 3


def changed(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    document = json.loads(data)
    change(document)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["trust"].update(version=9),
        lambda d: d["trust"].update(version=0),
        lambda d: d["trust"].update(version=True),
        lambda d: d["trust"].update(organisation="Other"),
        lambda d: d["trust"]["signers"].clear(),
        lambda d: d["trust"]["signers"][0].update(name="ben"),
        lambda d: d["trust"]["signers"][0].update(invalid_after=None, revoked_at=None, reason="x"),
        lambda d: d["trust"]["signers"][0].update(fingerprint="sha256:" + "0" * 64),
        lambda d: d["trust"].update(previous=None),
        lambda d: d["trust"].update(extra=1),
        lambda d: d["trust"].update(schema="archiver/trust/2"),
        lambda d: d["trust"].pop("signers"),
        lambda d: d.update(signature=""),
        lambda d: d.update(signature="!!"),
        lambda d: d.update(signature=base64.b64encode(b"garbage").decode()),
        lambda d: d.update(more=1),
        lambda d: d.pop("trust"),
    ],
)
def test_nothing_in_it_can_be_changed(
    change: Callable[[dict[str, Any]], None], house: House
) -> None:
    with pytest.raises(FormatError):
        parse_trust_list(changed(house.path.read_bytes(), change))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"\xff", b"{" * 100_000, b"[" * 100_000, b'{"trust":1,"signature":2}'],
)
def test_what_is_no_list(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_trust_list(data)


def test_a_key_twice_is_refused(house: House) -> None:
    """Another reader may take the first of them, we the last."""
    text = house.path.read_text()
    with pytest.raises(FormatError):
        parse_trust_list(text.replace('"version": 2', '"version": 1, "version": 2').encode())


def test_signed_by_a_signer_instead_of_the_ca(house: House) -> None:
    trust = house.list()
    with pytest.raises(KeyringError):
        sign_trust_list(trust, house.ana, NOW)
    document = json.loads(house.path.read_bytes())
    canonical = json.dumps(
        document["trust"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    document["signature"] = base64.b64encode(house.ana.sign(canonical.encode(), NOW)).decode()
    with pytest.raises(FormatError, match="CA"):
        parse_trust_list(json.dumps(document).encode())


COMMANDS = """
jq -cjS .trust "$1" > t && jq -r .signature "$1" | base64 -d > t.p7s &&
openssl cms -verify -binary -inform DER -in t.p7s -content t -CAfile ca.pem \\
    -purpose any -out /dev/null
"""


def test_the_canonical_form_is_what_jq_prints(house: House, tmp_path: Path) -> None:
    """So that anybody can check the list with openssl (docs/keys.md)."""
    (tmp_path / "ca.pem").write_bytes(house.ca.certificate.pem)
    done = subprocess.run(
        [
            "sh",
            "-c",
            COMMANDS,
            "sh",
            house.path,
        ],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# -- what it decides


def sealed_by(signer: SigningKey, place: Path) -> Path:
    return seal(make_source(place / "source"), place / "bag", [signer])


def test_a_list_vouches_for_its_signers_only(house: House, tmp_path: Path) -> None:
    bag = sealed_by(house.ana, tmp_path)
    assert check(bag, load_anchors(trust=[str(house.path)])).exit_code == 0
    unlisted = issue(SIGNER, new_ec(), house.ca, subject="Unlisted")
    other = sealed_by(unlisted, tmp_path / "other")
    report = check(other, load_anchors(trust=[str(house.path)]))
    assert report.exit_code == 4
    assert "E-TRU-006" in found(report)
    (tmp_path / "ca.pem").write_bytes(house.ca.certificate.pem)
    both = load_anchors(trust=[str(tmp_path / "ca.pem"), str(house.path)])
    assert check(other, both).exit_code == 4  # the list is what its CA says
    pinned = f"sha256:{house.ca.certificate.fingerprint}"
    assert check(other, load_anchors(trust=[pinned, str(house.path)])).exit_code == 4
    assert check(other, load_anchors(trust=[pinned])).exit_code == 0


def test_a_certificate_from_elsewhere_is_pinned(
    house: House, office: Office, tmp_path: Path
) -> None:
    bag = sealed_by(office.ben, tmp_path)
    assert check(bag, load_anchors(trust=[str(house.path)])).exit_code == 4
    add_signer(house.directory, "ben", office.ben.certificate, house.ca, NOW)
    assert check(bag, load_anchors(trust=[str(house.path)])).exit_code == 0
    with pytest.raises(DestinationError):
        add_signer(house.directory, "ben", office.ben.certificate, house.ca, NOW)
    encipher = issue(SIGNER, new_ec(), key_usage=usage("key_encipherment"))
    with pytest.raises(KeyringError):
        add_signer(house.directory, "x", encipher.certificate, house.ca, NOW)


def test_revocation_counts_whoever_else_vouches(house: House, tmp_path: Path) -> None:
    bag = sealed_by(house.ana, tmp_path)
    (tmp_path / "ca.pem").write_bytes(house.ca.certificate.pem)
    (tmp_path / "ana.pem").write_bytes(house.ana.certificate.pem)
    revoke_signer(house.directory, "ana", NOW - timedelta(hours=1), "keyCompromise", house.ca, NOW)
    for more in ("ca.pem", "ana.pem"):
        anchors = load_anchors(trust=[str(tmp_path / more), str(house.path)])
        report = check(bag, anchors)
        assert report.exit_code == 4
        assert "E-TRU-005" in found(report)
        assert check(bag, anchors, at=NOW - timedelta(hours=2)).exit_code == 4
    crl = load_anchors(
        trust=[str(tmp_path / "ca.pem")], crls=[str(Path(house.directory) / "ca.crl")]
    )
    assert check(bag, crl).exit_code == 4


def test_a_revocation_can_only_be_made_earlier(house: House) -> None:
    revoke_signer(house.directory, "ana", NOW - DAY, "keyCompromise", house.ca, NOW)
    with pytest.raises(DestinationError):
        revoke_signer(house.directory, "ana", NOW, "superseded", house.ca, NOW)
    fingerprint = f"sha256:{house.ana.certificate.fingerprint}"
    trust = revoke_signer(house.directory, fingerprint, NOW - 2 * DAY, "superseded", house.ca, NOW)
    entry = trust.find(house.ana.certificate.fingerprint)
    assert entry is not None
    assert entry.invalid_after == NOW - 2 * DAY
    assert entry.revoked_at == NOW


@pytest.mark.parametrize(
    ("name", "reason"), [("nobody", "superseded"), ("ana", "bored"), ("", "superseded")]
)
def test_what_cannot_be_revoked(name: str, reason: str, house: House) -> None:
    with pytest.raises(UsageError) as caught:
        revoke_signer(house.directory, name, NOW, reason, house.ca, NOW)
    assert caught.value.hint


def test_an_older_list_replayed(house: House, tmp_path: Path) -> None:
    """The attacker hands out the list from before the revocation."""
    old = tmp_path / "old.json"
    old.write_bytes(house.path.read_bytes())
    revoke_signer(house.directory, "ana", NOW, "keyCompromise", house.ca, NOW)
    state = str(tmp_path / "state" / "archiver" / "trust-lists.json")
    new = load_anchors(trust=[str(house.path)])
    assert remember_lists(new.lists, state) == []
    assert remember_lists(new.lists, state) == []
    replayed = load_anchors(trust=[str(old)])
    with pytest.raises(KeyringError, match="version 2, but version 3"):
        remember_lists(replayed.lists, state)


def test_two_lists_of_one_version(house: House, tmp_path: Path) -> None:
    state = str(tmp_path / "state" / "lists.json")
    remember_lists([house.list()], state)
    other = TrustList(
        organisation="House",
        version=2,
        issued_at=NOW,
        authority=house.ca.certificate,
        previous="0" * 64,
    )
    (tmp_path / "other.json").write_bytes(sign_trust_list(other, house.ca, NOW))
    lists = load_anchors(trust=[str(tmp_path / "other.json")]).lists
    with pytest.raises(KeyringError, match="two different"):
        remember_lists(lists, state)


def test_where_versions_cannot_be_noted(house: House, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (warning,) = remember_lists([house.list()], str(tmp_path / "file" / "x.json"))
    assert "could not be noted" in warning
    (tmp_path / "bad.json").write_bytes(b"[1]")
    with pytest.raises(KeyringError):
        remember_lists([house.list()], str(tmp_path / "bad.json"))


def test_tsa_roots(house: House, office: Office) -> None:
    stamper = issue(TSA, new_ec(), office.ca)
    with pytest.raises(KeyringError):
        add_tsa_root(house.directory, [stamper.certificate], "", house.ca, NOW)
    trust = add_tsa_root(house.directory, [office.ca.certificate], "http://x/", house.ca, NOW)
    assert [one.url for one in trust.tsa_roots] == ["http://x/"]
    again = add_tsa_root(house.directory, [office.ca.certificate], "http://x/", house.ca, NOW)
    assert again.version == trust.version
    anchors = load_anchors(trust=[str(house.path)])
    assert anchors.stamping_roots(house.ana.certificate) == (office.ca.certificate,)
    assert anchors.stamping_roots(office.ben.certificate) == ()  # it vouches for its own only


def test_a_ca_above_does_not_get_around_the_list(tmp_path: Path) -> None:
    root = issue(CA, new_ec(), subject="Above", key_usage=CAN_SIGN)
    ca = issue(CA, new_ec(), root, subject="House CA", key_usage=CAN_SIGN)
    ana, unlisted = (issue(SIGNER, new_ec(), ca, subject=name) for name in ("Ana", "Unlisted"))
    keys = tmp_path / "keys"
    keys.mkdir()
    begin_list(str(keys), "House", ca, NOW)
    add_signer(str(keys), "ana", ana.certificate, ca, NOW)
    (tmp_path / "root.pem").write_bytes(root.certificate.pem)
    other = issue(replace(CA, subject="House CA", key_usage=CAN_SIGN), ca.key, root)
    (tmp_path / "other.pem").write_bytes(other.certificate.pem)
    fingerprint = f"sha256:{root.certificate.fingerprint}"
    bags = {one: sealed_by(one, tmp_path / one.certificate.name) for one in (ana, unlisted)}
    for above in (str(tmp_path / "root.pem"), fingerprint, str(tmp_path / "other.pem")):
        anchors = load_anchors(trust=[above, str(keys / "trust.json")])
        assert check(bags[ana], anchors).exit_code == 0
        report = check(bags[unlisted], anchors)
        assert report.exit_code == 4
        assert "E-TRU-006" in found(report)


def test_lists_are_weighed_whatever_their_order(house: House, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_bytes(house.path.read_bytes())
    revoke_signer(house.directory, "ana", NOW, "keyCompromise", house.ca, NOW)
    for number, order in enumerate(([old, house.path], [house.path, old])):
        lists = load_anchors(trust=[str(path) for path in order]).lists
        with pytest.raises(KeyringError):
            remember_lists(lists, str(tmp_path / f"state-{number}"))


def test_the_next_version_must_follow_from_the_one_that_was_seen(
    house: House, tmp_path: Path
) -> None:
    state = str(tmp_path / "state")
    remember_lists([house.list()], state)
    forked = TrustList(
        organisation="House",
        version=3,
        issued_at=NOW,
        authority=house.ca.certificate,
        previous="0" * 64,
    )
    (tmp_path / "forked.json").write_bytes(sign_trust_list(forked, house.ca, NOW))
    lists = load_anchors(trust=[str(tmp_path / "forked.json")]).lists
    with pytest.raises(KeyringError):
        remember_lists(lists, state)


def test_a_bag_is_no_anchor_for_itself(house: House, tmp_path: Path) -> None:
    bag = sealed_by(house.ana, tmp_path)
    (bag / "trust.json").write_bytes(house.path.read_bytes())
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "trust.json").symlink_to(bag / "trust.json")
    for given in (bag, f"{bag}/", bag / "trust.json", outside, bag / "signatures"):
        with pytest.raises(UsageError, match="lies in the bag"):
            refuse_from_bag([str(given)], str(bag))
    refuse_from_bag([str(house.path), house.directory], str(bag))


def test_one_change_at_a_time(house: House) -> None:
    with locked(house.directory), pytest.raises(DestinationError), locked(house.directory):
        pass


def test_the_first_list_is_never_written_over(house: House) -> None:
    with pytest.raises(Exception, match="exists"):
        begin_list(house.directory, "House", house.ca, NOW)
    assert house.list().version == 2
    assert trustfiles.LIST_FILE == "trust.json"


def test_a_ca_that_may_not_sign_documents_signs_its_list_all_the_same(tmp_path: Path) -> None:
    ca = issue(CA, new_ec(), key_usage=ISSUING)
    tmp_path.joinpath("k").mkdir()
    begin_list(str(tmp_path / "k"), "X", ca, NOW)
    assert read_list(str(tmp_path / "k")).version == 1
