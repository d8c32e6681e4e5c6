"""``archiver policy list | show | check | schema``: what is asked of bags."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import typer

from archiver.cli.agekeys import identities_option, in_secret, load_identities
from archiver.cli.options import crl_option, json_option, trust_option, tsa_root_option
from archiver.cli.output import Output, finding_json, printable
from archiver.errors import ArchiverError, PolicyError, UsageError
from archiver.i18n import N_, _

__all__ = ["policy_app"]

_FINDINGS_SHOWN = 100
_SHIPPED = (
    N_("For a court: two TSAs, two replicas, every copy read each 30 days, all fields"),
    N_("Open bags with two checksums and nothing about people or machines"),
    N_("Signed, read back, and every item described before its case is complete"),
    N_("Statements of witnesses: encrypted, the identity sealed apart, with consent"),
    N_("Recordings: place and maker are owed too, and only audio and video are accepted"),
)
"""What the policies that ship say of themselves, for translators."""


def policy_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver policy``."""
    app = typer.Typer(
        help=summary, rich_markup_mode=None, no_args_is_help=True, context_settings=settings
    )
    for add in (_add_list, _add_show, _add_check, _add_schema):
        add(app)
    return app


def _name_argument() -> Any:
    text = _("A policy that ships, or a .toml file.")
    return typer.Argument(metavar="NAME|FILE", help=text, show_default=False)


def _add_list(app: typer.Typer) -> None:
    @app.command(
        "list",
        help=_("List the policies that ship."),
        epilog=_("Example: archiver policy list"),
    )
    def list_policies(as_json: Annotated[bool, json_option()] = False) -> int:
        from archiver.policy import policy_names, read_policy

        found, output = [read_policy(name) for name in policy_names()], Output()
        if as_json:
            rows = [
                {
                    "name": one.policy.name,
                    "description": one.policy.description,
                    "extends": one.extends or None,
                }
                for one in found
            ]
            output.json({"schema": "archiver/policy-list/1", "policies": rows})
            return 0
        for one in found:
            text = one.policy.description
            said = _(text) if text in _SHIPPED else text
            more = _("extends {name}").format(name=one.extends) if one.extends else ""
            output.line(printable(f"{one.policy.name:<12}{more:<19}{said}"))
        return 0


def _add_show(app: typer.Typer) -> None:
    @app.command(
        help=_("Show all that a policy says, with what it extends, and which file says it."),
        epilog=_("Example: archiver policy show evidence"),
    )
    def show(
        name: Annotated[str, _name_argument()],
        profile: Annotated[
            bool,
            typer.Option(
                "--bagit-profile",
                help=_("Write it as a BagIt Profile (1.4), for other BagIt tools."),
            ),
        ] = False,
        identifier: Annotated[
            str,
            typer.Option(
                "--identifier",
                metavar="URI",
                help=_("With --bagit-profile: where it will be found (else made from the rules)."),
            ),
        ] = "",
        json_schema: Annotated[
            bool,
            typer.Option(
                "--json-schema", help=_("Write the schema of policy files (as 'policy schema').")
            ),
        ] = False,
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from archiver.describe.owed import read_checked

        if identifier and not profile:
            raise UsageError(
                _("--identifier goes with --bagit-profile"),
                hint=_("See 'archiver policy show --help'."),
            )
        if profile + json_schema + as_json > 1:
            raise UsageError(
                _("these options don't go together"), hint=_("See 'archiver policy show --help'.")
            )
        loaded, output = read_checked(name), Output()
        if profile:
            from archiver.verify.profile import bagit_profile

            _write(bagit_profile(loaded.policy, identifier), output)
        elif json_schema:
            _write(_schema(), output)
        elif as_json:
            output.json(_shown_json(loaded))
        else:
            for line in _shown_lines(loaded):
                output.line(printable(line))
        return 0


def _add_schema(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Write the JSON Schema of policy files: editors that know it complete keys and mark"
            " mistakes. Begin a file with '#:schema policy.schema.json'."
        ),
        epilog=_("Example: archiver policy schema > policy.schema.json"),
    )
    def schema() -> int:
        _write(_schema(), Output())
        return 0


def _schema() -> dict[str, Any]:
    from dataclasses import fields

    from archiver.describe.owed import known_fields
    from archiver.policy import DescribePolicy
    from archiver.policy.schema import policy_schema

    keys = [one.name for one in fields(DescribePolicy) if one.name != "required"]
    return policy_schema({key: known_fields(key) for key in keys})


def _write(document: dict[str, Any], output: Output) -> None:
    """For people and other programs, over many lines and in ASCII."""
    output.line(json.dumps(document, indent=2))


def _rows(loaded: Any) -> list[tuple[str, str, Any, str]]:
    """(table, key, value, where it comes from)."""
    from dataclasses import fields

    from archiver.policy.model import TABLES

    return [
        (table, one.name, getattr(getattr(loaded.policy, table), one.name), origin)
        for table, kind in TABLES.items()
        for one in fields(kind)
        for origin in [loaded.where(table, one.name)]
    ]


def _shown_lines(loaded: Any) -> list[str]:
    """TOML, as it would stand in one file that extends no other."""
    lines = [f"# {loaded.policy.name}: {' <- '.join(one.path for one in loaded.files)}"]
    lines.append(f"description = {_toml(loaded.policy.description)}")
    current = ""
    for table, key, value, origin in _rows(loaded):
        if table != current:
            lines += ["", f"[{table}]"]
            current = table
        said = f"{key} = {_toml(value)}"
        place = os.path.basename(origin) if origin else _("built in")
        lines.append(f"{said:<52}  # {place}")
    return lines


def _toml(value: object) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _shown_json(loaded: Any) -> dict[str, object]:
    tables: dict[str, dict[str, object]] = {}
    for table, key, value, origin in _rows(loaded):
        said = list(value) if isinstance(value, tuple) else value
        tables.setdefault(table, {})[key] = {"value": said, "from": origin or None}
    return {
        "schema": "archiver/policy-show/1",
        "name": loaded.policy.name,
        "description": loaded.policy.description,
        "files": [one.path for one in loaded.files],
        "tables": tables,
    }


def _add_check(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Say everything that is wrong with a policy file. With bags: what each of them lacks"
            " by the policy; exit code 4 where one lacks something, 3 where that can't be told."
        ),
        epilog=_("Example: archiver policy check evidence case-001 --trust ca.pem"),
    )
    def check(
        name: Annotated[str, _name_argument()],
        bags: Annotated[
            list[str] | None,
            typer.Argument(metavar="BAG...", help=_("Bags to judge by it."), show_default=False),
        ] = None,
        trust: Annotated[list[str] | None, trust_option()] = None,
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        crl: Annotated[list[str] | None, crl_option()] = None,
        identity: Annotated[list[str] | None, identities_option()] = None,
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Answer in JSON, one line for each bag."))
        ] = False,
    ) -> int:
        output = Output()
        policy = _checked(name, output, as_json=as_json)
        if policy is None:
            return PolicyError.exit_code
        if not bags:
            _tell_file(name, [], output, as_json=as_json)
            return 0
        from archiver.cli.bag_verify import bag_anchors, worst_code
        from archiver.verify import VerifyOptions

        with in_secret(identity or (), output):
            options = VerifyOptions(
                policy=policy,
                anchors=bag_anchors(trust or [], tsa_root or [], crl or [], bags, output),
                identities=load_identities(identity) if identity else None,
            )
            return worst_code([_check_bag(bag, options, output, as_json=as_json) for bag in bags])


def _checked(name: str, output: Output, *, as_json: bool) -> Any:
    """The policy, or None where there are mistakes: then all of them were told."""
    from archiver.describe.owed import checked_policy
    from archiver.policy import MistakesError

    try:
        return checked_policy(name)
    except MistakesError as error:
        _tell_file(name, list(error.mistakes), output, as_json=as_json)
        return None


def _tell_file(name: str, mistakes: list[Any], output: Output, *, as_json: bool) -> None:
    if as_json:
        rows = [{"place": one.place, "message": one.message, "hint": one.hint} for one in mistakes]
        output.json({"schema": "archiver/policy-check/1", "policy": name, "mistakes": rows})
        return
    for one in mistakes:
        output.error(f"{one.place}: {one.message}", one.hint)
    if not mistakes:
        output.line(printable(_("{name}: nothing is wrong with it").format(name=name)))


def _check_bag(bag: str, options: Any, output: Output, *, as_json: bool) -> int:
    """Its exit code."""
    from archiver.verify import verify_bag

    policy = options.policy
    try:
        report = verify_bag(bag, options)
    except ArchiverError as error:
        return output.failed(error)
    found = [one for one in report.findings if one.entry.step == "policy"]
    if as_json:
        output.json(
            {
                "schema": "archiver/policy-check-bag/1",
                "bag": bag,
                "policy": policy.name,
                "verdict": report.verdict.value,
                "missing": [finding_json(one) for one in found],
            }
        )
        return report.exit_code
    _tell_bag(report, policy, found, output)
    return report.exit_code


def _tell_bag(report: Any, policy: Any, found: list[Any], output: Output) -> None:
    from archiver.cli.words import verdict_text

    outcome = next(one.outcome.value for one in report.claims if one.name == "policy")
    texts = {
        "holds": _("{bag}: has all that the policy {policy} asks for"),
        "fails": _("{bag}: lacks what the policy {policy} asks for"),
        "undecided": _("{bag}: it can't be told whether it has what the policy {policy} asks for"),
    }
    output.line(printable(texts[outcome].format(bag=report.bag, policy=policy.name)))
    for one in found[:_FINDINGS_SHOWN]:
        output.line(output.finding(one))
    if len(found) > _FINDINGS_SHOWN:
        more = len(found) - _FINDINGS_SHOWN
        output.line("  " + _("and {count} more; --json lists more of them").format(count=more))
    if any(one.code == "E-POL-002" for one in found):
        output.hint(_("A signature counts where its signer is trusted: --trust ca.pem."))
    if report.exit_code and not found:
        output.line("  " + verdict_text(report))
