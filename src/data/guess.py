"""Which columns of one's own data hold what a problem needs, guessed by their names; what was guessed is said.

To have a name known, add it to NAMES: the first that a table has is taken.
"""

from collections.abc import Mapping
from typing import Any

from src.common.errors import UserError
from src.common.types import LEVELS
from src.data.columns import MISSING, ColumnMap, paths_of, value_at
from src.data.rows import RawTable

NAMES = {  # of columns, or dotted paths; in any case of letters
    "question": ("question", "problem", "prompt", "query", "instruction", "input", "text"),
    "answer": (
        "answer", "final_answer", "ground_truth", "reward_model.ground_truth", "gold", "target", "expected_answer", "label", "solution",
        "output", "response",
    ),
    "pass_rate": ("pass_rate", "solve_rate", "success_rate", "passrate"),
    "level": ("level", "difficulty"),
}  # fmt: skip
CONVERSATIONS = ("prompt", "messages", "conversations")  # lists of messages: the first user's is the question
ROWS_LOOKED_AT = 1_000
ANSWER_MARK = "####"  # as GSM8K has it


def guessed(table: RawTable, given: Mapping[str, Any]) -> tuple[ColumnMap, str]:
    """The columns of a table, those `given` as they are, and in words which they are. Raises UserError where none is known to
    hold the question or the answer."""
    records = [row.record for row in table.rows[:ROWS_LOOKED_AT]]
    paths = list(dict.fromkeys(path for record in records[:100] for path in paths_of(record)))
    by_name = {path.lower(): path for path in reversed(paths)}
    found = {field: next((by_name[name] for name in names if name in by_name), None) for field, names in NAMES.items()}
    found["question"] = found["question"] or _of_a_conversation(records)
    for field, fits in (("pass_rate", _is_share), ("level", _is_level)):
        if found[field] and not all(map(fits, _values(records, found[field]))):
            found[field] = None
    columns = {field: path for field, path in found.items() if path} | dict(given)
    for field in ("question", "answer"):
        if field not in columns:
            raise UserError(
                f"{table.source}: no column is known to hold the {field}; name it, as in problems.columns.{field}={paths[0]}. It has {', '.join(paths)}"
            )
    if not {"answer_after", "answer_boxed"} & set(columns):
        columns |= _within(_values(records, columns["answer"]))
    return ColumnMap(**columns), _in_words(columns)


def _of_a_conversation(records: list[dict[str, Any]]) -> str | None:
    for name in CONVERSATIONS:
        messages = records[0].get(name)
        for number, message in enumerate(messages if isinstance(messages, list) else ()):
            if isinstance(message, dict) and message.get("role") == "user":
                return f"{name}.{number}.content"
    return None


def _values(records: list[dict[str, Any]], path: str) -> list[Any]:
    return [value for record in records if (value := value_at(record, path)) not in (MISSING, None, "")]


def _is_share(value: Any) -> bool:
    try:
        return 0 <= float(value) <= 1
    except (TypeError, ValueError):
        return False


def _is_level(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() in LEVELS


def _within(answers: list[Any]) -> dict[str, Any]:
    """Where in a text that holds more than it an answer stands."""
    for sign, keys in ((ANSWER_MARK, {"answer_after": ANSWER_MARK}), ("\\boxed", {"answer_boxed": True})):
        if answers and all(sign in str(answer) for answer in answers):
            return keys
    return {}


def _in_words(columns: Mapping[str, Any]) -> str:
    answer = f"answer: {columns['answer']}"
    if mark := columns.get("answer_after"):
        answer += f" after its last {mark}"
    if columns.get("answer_boxed"):
        answer += ", its last box"
    others = [f"{field.replace('_', ' ')}: {columns[field]}" for field in ("pass_rate", "level") if field in columns]
    return ", ".join([f"question: {columns['question']}", answer, *others])
