"""Made-up numbers with valid check digits, in area codes that nobody has."""

from stdnum.cn import ric, uscc


def id_number(serial: int, born: str = "19900101") -> str:
    body = f"990000{born}{serial:03}"
    return body + ric.calc_check_digit(body + "0")


def firm_code(serial: int) -> str:
    body = f"91990000{serial:09}"
    return body + uscc.calc_check_digit(body)


FIRM, OTHER_FIRM = firm_code(1), firm_code(2)
ANNA, BERT = id_number(1), id_number(2)
PHONE = "12900000001"

ENTERPRISES = [["uscc", "name", "division", "status"], [FIRM, "样例企业", "330521", "active"]]
OPERATORS = [
    ["operator_id", "name", "id_number", "phone", "status"],
    ["P-1", "样例甲", ANNA, PHONE, "active"],
    ["P-2", "样例乙", BERT, "", "blocked"],
]
CERTIFICATES = [
    ["number", "operator_id", "item", "valid_until", "status", "verification"],
    [f"T{ANNA}", "P-1", "fusion", "2030-01-01", "valid", "verified"],
    [f"T{ANNA}", "P-1", "brazing", "2030-01-01", "valid", "verified"],
]
EMPLOYMENTS = [["operator_id", "uscc", "from", "until"], ["P-1", FIRM, "", ""], ["P-2", FIRM, "2020-01-01", ""]]
MACHINES = [
    ["machine_id", "chip", "uscc", "process", "division", "location", "status"],
    ["HJ-0001", "C-1", FIRM, "fusion", "330521", "一号车间", "active"],
]
PERMITS = [
    ["permit_id", "uscc", "operator_id", "machine_id", "level", "guardian", "starts_at", "ends_at", "status"],
    ["DH-1", FIRM, "P-1", "HJ-0001", "grade_1", "P-2", "2026-01-05 08:00", "2026-01-05 16:00", "approved"],
]
WORK_HOURS = [["uscc", "machine_id", "days", "from", "until"], [FIRM, "", "1-5", "08:00", "18:00"]]
FILES = {
    "enterprises": ENTERPRISES,
    "operators": OPERATORS,
    "certificates": CERTIFICATES,
    "employments": EMPLOYMENTS,
    "machines": MACHINES,
}
