"""The reference page docs/record_fields.md, made from the table of fields."""

from pgolf.records.fields import FIELDS, RERUN_COMPARED, RERUN_EXPLAINS, TABLE, Field

INTRODUCTION = """# Fields of a record

Each run writes one record, `result.json`: a flat JSON object. `pgolf.aggregate` collects the records of a study in
`results.jsonl`, one row per run. This page lists all fields. It is generated from `pgolf/records/fields.py`.

A name that ends in `*` stands for all fields with that beginning. Every field may be null unless the last column says
where it is needed.
"""
HEAD = ("field", "value", "unit", "meaning", "needed in")


def reference() -> str:
    """The page as Markdown, one table per group of fields."""
    parts = [INTRODUCTION]
    for group, fields in TABLE.items():
        parts.append(f"## {group}\n\n{line(HEAD)}\n{line(['---'] * len(HEAD))}\n{''.join(map(field_line, fields))}")
    parts.append(
        "## Repeating a run\n\n"
        f"`pgolf.rerun` compares {listed(RERUN_COMPARED)}. Where they differ, it shows what may explain the "
        f"difference: {listed(RERUN_EXPLAINS)}.\n"
    )
    return "\n".join(parts)


def line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def field_line(field: Field) -> str:
    cells = (f"`{field.name}`", field.kind.name, field.unit, field.meaning, field.needed.value)
    return f"{line(cells)}\n"


def listed(names: tuple[str, ...]) -> str:
    assert set(names) <= FIELDS.keys(), names
    return ", ".join(f"`{name}`" for name in names)
