"""tests/e2e/test_side_by_side_page.py -- the page for those who come from Google's proxy lists the deviations that the tests show,
and no others."""
import re

from lib.paths import ROOT
from lib.side_by_side import DEVIATIONS

PAGE = ROOT / "docs" / "coming-from-cloud-sql-proxy.md"


def test_page_lists_the_deviations():
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(rows) == len(set(rows)), "a deviation has two rows"
    assert set(rows) == set(DEVIATIONS)


def test_each_deviation_is_shown_by_a_test():
    """By a case that names it, or by a comment beside the assertion."""
    texts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "e2e").glob("test_*.py"))
    shown = set(re.findall(r'deviation="([a-z0-9-]+)"|# deviation: ([a-z0-9-]+)', texts))
    names = {name for pair in shown for name in pair if name}
    assert names <= set(DEVIATIONS), names - set(DEVIATIONS)
    assert set(DEVIATIONS) <= names, f"shown by no test: {set(DEVIATIONS) - names}"
