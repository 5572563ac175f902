"""What the documents promise is tested: each rule of docs/delivery.md names the tests that fail without it."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "delivery.md"
MARK = re.compile(r"<!-- tested: ([^>]*) -->")
# Code of Rust's and of Python's tests, and the line of a property in `proptest!`.
TEST = re.compile(r"^\s*(?:async )?(?:fn|def) (\w+)\(", re.MULTILINE)


def rules() -> list[str]:
    """The paragraphs, list items and rows of the page, each with its mark, from the first section on."""
    text = PAGE.read_text()
    text = re.sub(r"```.*?```", "", text[text.index("\n## ") :], flags=re.DOTALL)
    found = []
    for block in re.split(r"\n\n|\n(?=- )", text):
        lines = block.strip().splitlines()
        if not lines or lines[0].startswith("## "):
            continue
        if lines[0].startswith("|"):
            found.extend(line for line in lines[2:])
        else:
            found.append("\n".join(lines))
    return found


def known_tests() -> set[str]:
    rust = (path for path in (ROOT / "crates").rglob("*.rs") if "target" not in path.parts)
    files = [*rust, *(ROOT / "tests").glob("test_*.py")]
    return {name for path in files for name in TEST.findall(path.read_text())}


def test_each_rule_of_the_page_for_receivers_names_tests_that_exist():
    known = known_tests()
    found = rules()
    # The rows of the table of errors are compared as a whole, by the test that stands above it.
    named = [rule for rule in found if not re.match(r"\| `\w+` \| [^|]* \|$", rule)]
    assert len(named) > 30
    for rule in named:
        mark = MARK.search(rule)
        assert mark, f"no test is named for: {rule}"
        missing = set(re.split(r",\s*", mark.group(1).strip())) - known
        assert not missing, f"there is no {missing} for: {rule}"
