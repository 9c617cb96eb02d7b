"""A small made-up county as registry files: each firm with two machines, three good people and one with a trouble."""

from pathlib import Path

TROUBLES = ("expired", "unverified", "blocked", "left", "no_certificate")


def write_county(folder: Path, firms: int) -> Path:
    """The five files; returns ``folder``."""
    enterprises = ["uscc,name,division,status"]
    machines = ["machine_id,chip,uscc,process,division,location,status"]
    operators = ["operator_id,name,id_number,phone,status"]
    employments = ["operator_id,uscc,from,until"]
    certificates = [
        "number,operator_id,category,item,issued_on,valid_from,valid_until,review_due,reviewed_on,authority,status,"
        "verification"
    ]
    for firm in range(firms):
        enterprises.append(f"FIRM-{firm:04d},样例企业{firm},990001,active")
        machines += [f"HJ-{firm:04d}-{n},CHIP-{firm:04d}-{n},FIRM-{firm:04d},fusion,990001,,active" for n in (1, 2)]
        for number in range(4):
            person, trouble = f"P{firm:04d}-{number}", TROUBLES[firm % len(TROUBLES)] if number == 3 else ""
            operators.append(f"{person},样例,990000199001010017,,{'blocked' if trouble == 'blocked' else 'active'}")
            employments.append(f"{person},FIRM-{firm:04d},2020-01-01,{'2024-01-01' if trouble == 'left' else ''}")
            until = "2025-01-01" if trouble == "expired" else "2099-01-01"
            verification = "unverified" if trouble == "unverified" else "verified"
            if trouble != "no_certificate":
                certificates.append(f"T{person},{person},,fusion,2020-01-01,,{until},,,,valid,{verification}")
    tables = {
        "enterprises": enterprises,
        "machines": machines,
        "operators": operators,
        "employments": employments,
        "certificates": certificates,
    }
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
