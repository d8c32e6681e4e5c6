"""The bags of ``bag create`` are made, and told of.

Job: plans and a description in, bags out, an exit code. Limits: what is packed, and how that is
asked for, is said by :mod:`archiver.cli.bag_create`.
"""

from __future__ import annotations

from typing import Any

from archiver.cli.bag_sign import (
    answered_enough,
    stamps_json,
    tell_lacking,
    tell_stamps,
    wait_for_stamps,
)
from archiver.cli.output import Output, count_files, finding_json, human_size, printable
from archiver.cli.owed import tell_owed
from archiver.cli.secret import pack_secret
from archiver.errors import UsageError
from archiver.i18n import _

__all__ = ["Making"]

_WARNINGS_SHOWN = 20


class Making:
    """Makes the bags, and tells of them; the exit codes."""

    def __init__(
        self,
        request: Any,
        policy: Any,
        now: Any,
        sealing: Any,
        described: Any,
        output: Output,
        *,
        as_json: bool,
        quiet: bool,
    ) -> None:
        self._request, self._policy, self._now, self._sealing = request, policy, now, sealing
        self._described, self._output = described, output
        self._as_json, self._quiet = as_json, quiet

    def _options(self, info: Any, examine: Any) -> Any:
        import uuid

        from archiver.seal import CreateOptions

        return CreateOptions(
            policy=self._policy,
            now=self._now,
            identifier=uuid.uuid4().urn,
            algorithms=self._request.algorithms,
            info=info,
            verify_after=self._request.verify_after,
            sealing=self._sealing,
            tag_files=self._described.files,
            examine=examine,
        )

    def secret(self, plans: list[Any], info: Any) -> int:
        """One bag of ciphertexts. Raises ArchiverError."""
        request = self._request
        if request.max_files is not None or request.max_bytes is not None:
            raise UsageError(
                _("what is encrypted is one bag: --max-files and --max-bytes don't go with it"),
                hint=_("Make a bag of each part."),
            )
        return pack_secret(
            plans[0],
            request.output,
            self._described.description,
            self._options(info, None),
            self._output,
            form=request.describe,
            identify=request.identify,
            as_json=self._as_json,
        )

    def plain(self, plans: list[Any], targets: list[str], info: Any) -> int:
        """A bag for each plan. Raises ArchiverError."""
        import uuid

        from archiver.seal.examine import Examiner

        group, codes = uuid.uuid4().urn, []
        for number, (plan, target) in enumerate(zip(plans, targets, strict=True), start=1):
            examiner = Examiner(self._policy, identify=self._request.identify)
            examine = examiner if examiner.is_needed else None
            options = self._options(_group_info(info, group, number, len(plans)), examine)
            codes.append(self._one(plan, target, options, examiner))
        code = max(codes)
        if code:
            tell_lacking(self._output)
        return code

    def _one(self, plan: Any, target: str, options: Any, examiner: Any) -> int:
        from archiver.cli.progress import progress_for
        from archiver.seal import create_bag

        output, sealing, as_json = self._output, self._sealing, self._as_json
        progress = progress_for(quiet=self._quiet)
        try:
            made = create_bag(plan, target, options, progress=progress, say=output.say)
        finally:
            progress.clear()
            examiner.close()
        for warning in examiner.warnings:
            output.warning(warning)
        stamps = _stamp(target, sealing, output)
        _told_of_creation(
            made, plan, target, output, sealing, stamps, examiner.summary, as_json=as_json
        )
        tell_stamps(stamps, output, as_json=as_json)
        tell_owed(self._policy, target, output)
        lacks = sealing and sealing.require_stamp and not answered_enough(stamps, self._policy)
        return 4 if lacks else 0


def _stamp(bag: str, sealing: Any, output: Output) -> Any:
    """Wait for the time stamps of a bag that is there already."""
    return wait_for_stamps(bag, sealing.stamps, output) if sealing else ()


def _group_info(info: Any, group: str, number: int, count: int) -> Any:
    """bag-info.txt of one bag of a group (RFC 8493 §2.2.2)."""
    if count == 1:
        return info
    if info.first("Bag-Count") is not None:
        raise UsageError(
            _("{label} is computed by the program and can't be given").format(label="Bag-Count")
        )
    elements = [("Bag-Count", f"{number} of {count}")]
    if info.first("Bag-Group-Identifier") is None:
        elements.insert(0, ("Bag-Group-Identifier", group))
    return info.with_elements(elements)


def _told_of_creation(
    made: Any,
    plan: Any,
    bag: str,
    output: Output,
    sealing: Any,
    stamps: Any,
    examined: Any,
    *,
    as_json: bool,
) -> None:
    from archiver.cli.words import WEAKNESSES

    for weakness in sorted(made.weaknesses):
        if weakness in WEAKNESSES:
            output.warning(_(WEAKNESSES[weakness]))
    for directory in made.changed_directories[:_WARNINGS_SHOWN]:
        text = _("{path} changed meanwhile: what was added there is not in the bag")
        output.warning(text.format(path=directory))
    if made.resumed_files:
        output.say(
            _("went on from an interrupted run: {count} files were already there").format(
                count=made.resumed_files
            )
        )
    if as_json:
        output.json(
            {
                "schema": "archiver/bag-create/1",
                "bag": bag,
                "payload_bytes": made.payload_bytes,
                "payload_files": made.payload_files,
                "signed": sealing is not None,
                "signers": [
                    {"name": one.certificate.name, "fingerprint": one.certificate.fingerprint}
                    for one in (sealing.signers if sealing else ())
                ],
                "time_stamps": stamps_json(stamps),
                "resumed_files": made.resumed_files,
                "weaknesses": sorted(made.weaknesses),
                "changed_directories": list(made.changed_directories),
                "warnings": [finding_json(finding) for finding in plan.findings],
                **examined,
            }
        )
        return
    output.line(
        f"{printable(bag)}: {count_files(made.payload_files)}, {human_size(made.payload_bytes)}"
    )
    for one in sealing.signers if sealing else ():
        certificate = one.certificate
        text = _("sealed by {name} ({fingerprint})")
        told = text.format(name=certificate.name, fingerprint=certificate.fingerprint[:16])
        output.line("  " + printable(told))
