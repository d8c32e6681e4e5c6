"""Takes a bag over that another tool made: as it is, with strong manifests and a seal beside.

Job: check, copy, check the copy, add, sign, commit. Limits: the original is only read;
of the copy no byte that came from it is changed. What is added is listed below.

1. The original is looked at: structure, completeness, nothing but files (no link, no pipe).
2. It is copied into staging, byte for byte; what is written is hashed with SHA-512.
3. Where its payload has no strong digests, ``manifest-sha512.txt`` is added.
4. The copy is read from the disk and checked by the bag's own manifests, and by the new
   one: what changed meanwhile can't slip through. One that doesn't hold sends us back to
   the original, to tell whose fault it is.
5. Tag manifests that can't list a new payload manifest are set aside (RFC 8493 §2.2.1 wants
   each to list all), and ``tagmanifest-sha512.txt`` is added where there is none.
6. Signatures over it, and requests for time stamps.
7. The whole is verified as everybody else will see it; then one rename.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from archiver.bag.duplicate import CopyOptions, Original, copy_bag, list_bag
from archiver.bag.opening import open_tree
from archiver.bag.progress import Progress, Silent
from archiver.bag.proofs import SIGNED_FILE, signature_path
from archiver.bag.stage import Staging, refuse_existing, refuse_within_bag
from archiver.bag.validate import BagFacts, check_bag
from archiver.bag.write import WRITE_BITS, take_write_permission_away
from archiver.errors import FormatError, StorageError, UsageError, storage_error
from archiver.findings import Finding, Findings, Severity
from archiver.i18n import _
from archiver.policy import Policy
from archiver.seal import Sealing, check_written
from archiver.seal.finished import pack_it_whole, refuse_damaged
from archiver.seal.lacking import (
    PAYLOAD_MANIFEST,
    Lacking,
    add_payload_manifest,
    add_tag_manifest,
    find_lacking,
    set_aside,
)
from archiver.verify import Verdict, VerificationReport, VerifyOptions, verify_bag

__all__ = ["AdoptOptions", "AdoptedBag", "adopt_bag", "refuse_archive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptOptions:
    """How a bag is taken over. ``now`` is an aware time; without ``sealing`` the bag only
    gets its manifests.
    """

    policy: Policy
    now: datetime
    sealing: Sealing | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedBag:
    """A bag that was taken over, whole and on the disk. Paths are in the bag."""

    path: str
    payload_files: int
    payload_bytes: int
    signatures: tuple[str, ...]
    """Those of the signers that were asked for, also where one had signed before."""
    added: tuple[str, ...]
    """The manifests that were added."""
    set_aside: tuple[str, ...]
    """Where the tag manifests are that were set aside."""
    was_sealed: bool
    """Whether there were signatures before."""
    tag_manifest_sha512: str
    """SHA-512 of tagmanifest-sha512.txt: what was signed."""


def adopt_bag(
    source: str,
    destination: str,
    options: AdoptOptions,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> AdoptedBag:
    """Take the bag in the directory ``source`` over to ``destination``, which must not exist.

    Raises FormatError where it isn't intact or can't be taken over as it is,
    UnreadableError where that can't be told, SourceError where it changes meanwhile, and
    other ArchiverErrors. Then nothing is left behind; the source is never touched.
    """
    refuse_archive(source)
    staging = Staging(destination, "adopted")
    refuse_existing(destination)
    refuse_within_bag(destination)
    adoption = _Adoption(source, staging, options, progress or Silent(), say)
    return adoption.run()


def refuse_archive(source: str) -> None:
    """Raise UsageError where ``source`` is a file."""
    if os.path.isfile(source):
        raise UsageError(
            _("{path} is an archive; only a bag in a directory can be adopted").format(path=source),
            hint=_("Unpack it first."),
        )


class _Adoption:
    def __init__(
        self,
        source: str,
        staging: Staging,
        options: AdoptOptions,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self._source = source
        self._staging = staging
        self._options = options
        self._progress = progress
        self._say = say
        self._added: list[str] = []

    def run(self) -> AdoptedBag:
        facts, findings = self._look(fast=True)  # 1
        lacking = find_lacking(self._source, facts, findings)
        staging = self._staging
        with list_bag(self._source) as original:
            staging.open()
            try:
                adopted = self._stage(original, lacking, facts)
                staging.commit()
            except OSError as error:
                staging.discard()
                raise storage_error(error, staging.destination) from error
            except BaseException:
                staging.discard()
                raise
        staging.discard()
        if self._options.policy.bag.read_only:
            take_write_permission_away(staging.destination)
        return adopted

    def _look(self, *, fast: bool) -> tuple[BagFacts, Findings]:
        """Check the original. Raises FormatError and UnreadableError where it isn't intact."""
        findings = Findings()
        tree = open_tree(self._source, findings, workers=self._options.workers)
        try:
            facts = check_bag(tree, findings, fast=fast)
        finally:
            tree.close()
        self._refuse(findings)
        return facts, findings

    def _refuse(self, findings: Findings) -> None:
        told = _("{bag} is not intact, so it was not adopted: {path}: {message}")
        refuse_damaged(findings, self._source, told, hints=_hints())

    def _stage(self, original: Original, lacking: Lacking, before: BagFacts) -> AdoptedBag:
        self._say(_("copying the bag"))
        bag, staged = self._source, self._staging.bag
        self._copy(original, lacking)
        facts = self._check_copy()  # 4
        signed, aside = facts.signed_digest, tuple[str, ...]()
        if lacking.payload_manifest:  # 5
            aside = set_aside(bag, staged, facts.tag_algorithms)
            for place in aside:
                self._say(_("an older tag manifest is kept as {place}").format(place=place))
        if lacking.tag_manifest:
            signed = add_tag_manifest(bag, staged, lacking)
            self._added.append(SIGNED_FILE)
        signatures = self._seal(signed)  # 6
        self._verify(signatures)  # 7
        return AdoptedBag(
            path=self._staging.destination,
            payload_files=facts.payload_files,
            payload_bytes=facts.payload_bytes,
            signatures=signatures,
            added=tuple(self._added),
            set_aside=aside,
            was_sealed=bool(before.proofs.signatures),
            tag_manifest_sha512=signed,
        )

    def _copy(self, original: Original, lacking: Lacking) -> None:
        options, staging = self._options, self._staging
        clear = WRITE_BITS if options.policy.bag.read_only else 0
        how = CopyOptions(clear_mode=clear, lock=staging.lock, workers=options.workers)
        digests = copy_bag(original, staging.bag, how, self._progress)  # 2
        if lacking.payload_manifest:
            add_payload_manifest(staging.bag, original, digests, lacking)  # 3
            self._added.append(PAYLOAD_MANIFEST)
        original.directories.clear()  # a million names, before the check has its own

    def _check_copy(self) -> BagFacts:
        self._say(_("reading the bag back from the disk"))
        options = self._options
        facts, findings = check_written(self._staging.bag, self._progress, options.workers)
        for one in findings:
            if one.severity is not Severity.WARNING and not self._is_of_our_making(one):
                self._look(fast=False)
                raise StorageError(
                    _("{bag} is intact, and its copy is not: {path}: {message}").format(
                        bag=self._source, path=one.path, message=one.message
                    ),
                    hint=_(
                        "It changed while it was copied, or the disk or the memory is failing."
                        " Run the command again."
                    ),
                )
        return facts

    def _is_of_our_making(self, finding: Finding) -> bool:
        """The old tag manifests, which the copy is still checked by, can't know of a new
        payload manifest.
        """
        return (finding.code, finding.path) == ("E-BAG-029", PAYLOAD_MANIFEST) and bool(self._added)

    def _seal(self, signed: str) -> tuple[str, ...]:
        """Sign and ask for time stamps; who has signed already does not sign again."""
        sealing, staged = self._options.sealing, self._staging.bag
        if sealing is None:
            return ()
        from archiver.seal.proofs import ProofPlace, sign_bag
        from archiver.seal.stamping import add_requests

        paths = {signature_path(one.certificate.fingerprint): one for one in sealing.signers}
        missing = [
            one for path, one in paths.items() if not os.path.lexists(os.path.join(staged, path))
        ]
        sign_bag(staged, missing, self._options.now, expected=signed)
        add_requests(ProofPlace(staged), sealing.stamps, unaddressed=sealing.require_stamp)
        return tuple(paths)

    def _verify(self, signatures: tuple[str, ...]) -> None:
        """Every byte was read in step 4: now the rest, as who knows our signers sees it."""
        options, sealing = self._options, self._options.sealing
        anchors = None
        if sealing is not None and sealing.signers:
            from archiver.pki.anchors import Anchors

            known = [(*one.chain, one.certificate)[-1] for one in sealing.signers]
            anchors = Anchors(certificates=tuple(known))
        asked = VerifyOptions(fast=True, anchors=anchors, at=options.now, workers=options.workers)
        report = verify_bag(self._staging.bag, asked)
        weak = report.findings.has("E-SCO-005")  # unproven too, but by our own doing
        if weak or report.verdict not in (Verdict.COMPLETE, Verdict.UNPROVEN):
            self._refuse(report.findings)
        self._refuse_broken(report, signatures)

    def _refuse_broken(self, report: VerificationReport, signatures: tuple[str, ...]) -> None:
        holding = {one.file for one in report.seal.signatures if one.holds} if report.seal else ()
        for path in signatures:
            if path not in holding:
                raise FormatError(
                    _("{bag}: {file} is no signature of this bag").format(
                        bag=self._source, file=path
                    ),
                    hint=pack_it_whole(),
                )


def _hints() -> dict[str, str]:
    """Next steps for what is often met with bags of other tools."""
    link = _(
        "Put what the link leads to in its place and make the bag anew, or pack it whole:"
        " archiver bag create --bag-in-bag."
    )
    return {
        "E-BAG-105": _("Fetch what fetch.txt names with the tool that made the bag."),
        "E-BAG-107": link,
        "E-BAG-109": link,
    }
