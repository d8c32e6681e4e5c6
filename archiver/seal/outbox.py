"""The road to a TSA for a machine without a network: requests out, answers in.

Job: lay waiting requests down on a stick, take answers from it. Limits: sends
nothing; file names on the stick are digests, so that they tell nothing of a bag.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from archiver.errors import ArchiverError, UsageError, storage_error
from archiver.filesystem import write_new_file
from archiver.i18n import _
from archiver.pki.certificates import Certificate
from archiver.pki.cms import CmsError
from archiver.seal.proofs import ProofPlace
from archiver.seal.stamping import (
    StampOptions,
    Waiting,
    add_requests,
    store_answer,
    tsa_id,
    waiting_requests,
)
from archiver.timestamp.token import MAX_ANSWER_BYTES, parse_answer

__all__ = ["Imported", "import_answers", "lay_out_requests"]

_SEND = """\
#!/bin/sh
# Sends every request in this directory to a time-stamping authority (TSA) and keeps the
# answers beside them. For a machine with a network; needs nothing but curl.
#   sh send.sh http://tsa.example.org/
# A request with a .url beside it goes to the address in there. Then bring the directory
# back: archiver timestamp import DIR BAG...
cd "$(dirname "$0")" || exit 1
failed=0
for request in *.tsq; do
    answer=${request%.tsq}.tsr
    [ -e "$answer" ] && continue
    url=$(cat "${request%.tsq}.url" 2>/dev/null || echo "$1")
    [ -n "$url" ] || { echo "usage: sh send.sh URL-OF-A-TSA" >&2; exit 2; }
    if curl --silent --show-error --fail --max-time 60 \\
        --header 'Content-Type: application/timestamp-query' \\
        --data-binary "@$request" --output "$answer.part" "$url"
    then mv "$answer.part" "$answer" && echo "$answer"
    else rm -f "$answer.part"; failed=1; fi
done
exit $failed
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of one answer: where it lies now, or why it was refused. ``stray`` says
    that it answers no request of these bags, so that nothing is wrong with it.
    """

    answer: str
    stray: bool = False
    already: bool = False
    bag: str = ""
    signature: str = ""
    gen_time: datetime | None = None
    problem: str = ""


def lay_out_requests(
    bags: Sequence[str], directory: str, options: StampOptions
) -> tuple[tuple[str, str], ...]:
    """Put what waits in ``bags`` into ``directory``: (bag, file) for each request.

    A signature without a stamp or a request gets one. Raises ArchiverError.
    """
    written = []
    addresses = {tsa_id(url): url for url in options.urls}
    try:
        os.makedirs(directory, exist_ok=True)
        for bag in bags:
            add_requests(ProofPlace(bag), options, unaddressed=not options.urls)
            for waiting in waiting_requests(ProofPlace(bag)):
                name = f"{hashlib.sha256(waiting.data).hexdigest()[:32]}.tsq"
                _write(os.path.join(directory, name), waiting.data)
                url = addresses.get(waiting.tsa)
                if url:
                    _write(os.path.join(directory, f"{name[:-4]}.url"), f"{url}\n".encode())
                written.append((bag, name))
        if written:
            _write(os.path.join(directory, "send.sh"), _SEND.encode())
    except OSError as error:
        raise storage_error(error, directory) from error
    return tuple(written)


def _write(path: str, data: bytes) -> None:
    """Write a file, unless the very same is there."""
    try:
        write_new_file(path, data, 0o644)
    except FileExistsError:
        with open(path, "rb") as file:
            if file.read(len(data) + 1) != data:
                raise


def import_answers(
    answers: Iterable[str],
    bags: Sequence[str],
    roots: Sequence[Certificate],
    now: datetime,
) -> tuple[Imported, ...]:
    """Bring answers (files, or directories with ``.tsr`` files) to the requests they answer.

    Nothing is overwritten; one that answers nothing that waits is refused and named.
    """
    return tuple(_import(path, bags, roots, now) for path in _files(answers))


def _files(answers: Iterable[str]) -> list[str]:
    files = []
    for path in answers:
        if os.path.isdir(path):
            try:
                names = sorted(name for name in os.listdir(path) if name.endswith(".tsr"))
            except OSError as error:
                raise storage_error(error, path) from error
            files += [os.path.join(path, name) for name in names]
        elif os.path.exists(path):
            files.append(path)
        else:
            raise UsageError(
                _("{path}: {reason}").format(path=path, reason=_("it is not there")),
                hint=_("Name the directory with the answers (.tsr), or one of them."),
            )
    return files


def _import(
    path: str, bags: Sequence[str], roots: Sequence[Certificate], now: datetime
) -> Imported:
    try:
        answer = _regular_file(path)
        token = parse_answer(answer)
    except OSError as error:
        return Imported(answer=path, problem=error.strerror or str(error))
    except CmsError as error:
        return Imported(answer=path, problem=_(error.message))
    over = [one for one in _waiting(bags) if one.asked.imprint == token.imprint]
    asked = [one for one in over if one.asked.nonce == token.nonce]
    if not asked:
        kept = _kept_in(answer, bags)
        if kept:
            return Imported(answer=path, bag=kept, gen_time=token.gen_time, already=True)
        problem = (
            _("it answers another request (its nonce is another one)")
            if over
            else _("none of the bags has a request that it answers")
        )
        return Imported(answer=path, problem=problem, stray=not over)
    try:
        store_answer(asked[0], answer, roots, now)
    except ArchiverError as error:
        return Imported(answer=path, problem=error.message)
    return Imported(
        answer=path, bag=asked[0].place.base, signature=asked[0].signature, gen_time=token.gen_time
    )


def _kept_in(answer: bytes, bags: Sequence[str]) -> str:
    """The bag that holds this very answer already, or ""."""
    for bag in bags:
        for stamp in ProofPlace(bag).files().stamps:
            try:
                if _regular_file(os.path.join(bag, stamp)) == answer:
                    return bag
            except OSError:
                continue
    return ""


def _regular_file(path: str) -> bytes:
    """A file's bytes; what is none (a pipe would hold us) is an OSError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(_("it is not a regular file"))
        return file.read(MAX_ANSWER_BYTES + 1)


def _waiting(bags: Sequence[str]) -> list[Waiting]:
    return [one for bag in bags for one in waiting_requests(ProofPlace(bag))]
