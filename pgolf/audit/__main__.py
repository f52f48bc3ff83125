"""`python -m pgolf.audit RUN|ARTIFACT|SWEEP [--json] [--strict] [--open-corpus]`: is a run what it claims to be?

RUN is a finished run folder, ARTIFACT a packed file, SWEEP the folder of a study with its plan. The files may be a
stranger's: reading them runs nothing that they name. Nothing is written, and no corpus is prepared or
downloaded. The corpus is looked up in your cache by its recorded hash; what needs it is not checked without it.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pgolf.audit.report import Verdict
from pgolf.command import FAILED, OK, REFUSED, Parser, one_line, place, run
from pgolf.config.saved import CONFIG
from pgolf.config.search_path import use_search_path
from pgolf.errors import ConfigError, PgolfError
from pgolf.execution.auditing.whole import DOCUMENTS, Audited, audit_artifact, audit_run, audit_sweep
from pgolf.records.plan import PLAN
from pgolf.records.record import RECORD


def audited(path: Path, *, opens_files: bool = False) -> Iterator[Audited]:
    """What the audit of a path finds: one entry, or one per run of a sweep, as it comes.

    opens_files: as for `find_corpus`. Raises PgolfError.
    """
    if path.is_file():
        yield Audited(path, audit_artifact(path))
    elif (path / PLAN).is_file():
        yield from audit_sweep(path, opens_files=opens_files)
    elif (path / RECORD).is_file() or (path / CONFIG).is_file():
        yield Audited(path, audit_run(path, opens_files=opens_files))
    elif not path.exists():
        raise ConfigError(f"{path}: does not exist. Give a run folder, a packed file or a study's folder")
    else:
        raise ConfigError(
            f"{path}: is neither a run folder ({RECORD}), a packed file nor a study's folder ({PLAN}). Give one of "
            "these"
        )


def is_broken(found: Audited, *, strict: bool) -> bool:
    """Whether a rule is broken, or the run could not be audited. strict: or a claim of the run was not checked."""
    if found.report is None:
        return True
    unclear = [check for check in found.report.of(Verdict.NOT_CHECKED) if check.rule != DOCUMENTS]
    return bool(found.report.failed) or (strict and bool(unclear))


def line_of(found: Audited, folder: Path) -> str:
    """One run of a sweep: its counts and its failed checks."""
    name = found.path.relative_to(folder)
    if found.report is None:
        return f"{name}: not audited: {one_line(found.refusal)}"
    counts = ", ".join(f"{number} {verdict}" for verdict, number in found.report.counts().items())
    failed = [f"  fail: {check.rule}: {check.name}: {one_line(check.evidence)}" for check in found.report.failed]
    return "\n".join([f"{name}: {counts}", *failed])


def print_json(found: Sequence[Audited]) -> None:
    print(json.dumps([each.to_dict() for each in found], indent=1, allow_nan=False), flush=True)


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.audit", description=__doc__)
    parser.add_argument("path", type=place, help="a run folder, a packed file, or the folder of a study")
    parser.add_argument(
        "--json", action="store_true", help="print JSON: a list with the path, counts and checks of each"
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 also if a claim could not be checked")
    parser.add_argument(
        "--open-corpus",
        action="store_true",
        help="also read the files that config.yaml names, for a corpus that is not in the cache; for your own runs",
    )
    args = parser.parse_args(use_search_path(arguments))
    is_sweep = args.path.is_dir() and (args.path / PLAN).is_file()
    found = []
    try:
        for each in audited(args.path, opens_files=args.open_corpus):
            found.append(each)
            if not args.json:
                text = line_of(each, args.path) if is_sweep else str(each.report)
                print(*map(one_line, text.split("\n")), sep="\n", flush=True)
        if not found:
            raise ConfigError(f"{args.path}: its plan has no runs. Audit a run folder, or the folder of another sweep")
    except PgolfError as error:
        if args.json:
            print_json([*found, Audited(args.path, None, " ".join(str(error).split()))])
        raise
    if args.json:
        print_json(found)
    if all(each.report is None for each in found):
        return REFUSED
    return FAILED if any(is_broken(each, strict=args.strict) for each in found) else OK


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code.

    0: no rule is broken. 1: one is, or a run of a sweep could not be audited. 2: refused. 130: interrupted.
    """
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
