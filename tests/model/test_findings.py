"""Which faults are new: lines move and figures change, and the fault is the same."""

from decimal import Decimal

from reconciler.model.findings import Finding, Origin, new_findings


def fault(line: int, message: str = 'unknown key "bogus"', file: str = "checkout.yml") -> Finding:
    return Finding(origin=Origin(file=file, line=line), message=message)


def beyond(figure: int, subject: str = "nodes of checkout", file: str = "checkout.yml") -> Finding:
    origin = Origin(file=file, line=1)
    return Finding(origin=origin, message=f"asks for {figure}", subject=subject, excess=Decimal(figure))


def test_a_fault_whose_line_moved_is_known() -> None:
    assert new_findings([fault(7)], [fault(5)]) == []
    assert new_findings([fault(5, file="other.yml"), fault(5, "another")], [fault(5)]) != []


def test_the_same_fault_once_more_is_new_and_the_one_that_stayed_is_not() -> None:
    assert new_findings([fault(5), fault(6)], [fault(6)]) == [fault(5)]
    assert new_findings([fault(5), fault(6)], [fault(4)]) == [fault(6)]
    assert new_findings([fault(5), fault(6)], [fault(7), fault(8)]) == []


def test_a_figure_that_grew_is_new_wherever_it_stands_and_one_that_fell_is_not() -> None:
    assert new_findings([beyond(6)], [beyond(5)]) == [beyond(6)]
    assert new_findings([beyond(5, file="production.yml")], [beyond(6)]) == []
    assert new_findings([beyond(5, subject="nodes of staging")], [beyond(6)]) != []


def test_each_known_figure_excuses_one() -> None:
    assert new_findings([beyond(4), beyond(9)], [beyond(10), beyond(5)]) == []
    assert new_findings([beyond(4), beyond(9)], [beyond(10)]) == [beyond(9)]
