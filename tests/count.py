"""Prints how many tests of a JUnit report passed and how many did not; a skipped one did not."""

import sys
import xml.etree.ElementTree as ElementTree


def main() -> None:
    """Reads the report that the first argument names."""
    suites = list(ElementTree.parse(sys.argv[1]).getroot().iter("testsuite"))
    total, bad = (
        sum(int(suite.get(name, "0")) for suite in suites for name in names)
        for names in (("tests",), ("failures", "errors", "skipped"))
    )
    print(total - bad, bad)


if __name__ == "__main__":
    main()
