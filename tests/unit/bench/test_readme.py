"""The README's table is the one that the committed results give."""

from bench import readme
from tests import HOME
from tests.unit.bench.peers.test_results import RESULT


def test_readme_has_the_table_of_the_results() -> None:
    """`python -m bench.readme` writes it."""
    text = (HOME / "README.md").read_text()
    found = readme.results()
    assert found.keys() == {"track", "normalise", "ingest", "end-to-end"}
    assert readme.written(text, found) == text
    assert not any(one.quick for one in found.values())


def test_table_has_at_most_six_rows() -> None:
    assert len(readme.table(readme.results()).splitlines()) == 2 + 6


def test_other_results_give_another_table() -> None:
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n"
    written = readme.written(text, {"track": RESULT})
    assert "old" not in written
    assert written.startswith("before\n")
    assert written.endswith(f"{readme.END}\nafter\n")
