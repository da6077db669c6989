"""A finding is one line that editors can jump to."""

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.findings import Finding, Origin

ORIGIN = Origin(file="environments.d/checkout.yml", line=7)
ORIGINS = st.builds(Origin, file=st.sampled_from(["a.yml", "b.yml"]), line=st.integers(1, 20))


def test_a_finding_reads_as_file_line_message_and_remedy() -> None:
    finding = Finding(origin=ORIGIN, message='unknown key "run_lsit"', remedy='did you mean "run_list"?')
    assert str(finding) == 'environments.d/checkout.yml:7: unknown key "run_lsit" (did you mean "run_list"?)'
    assert str(Finding(origin=ORIGIN, message="broken")) == "environments.d/checkout.yml:7: broken"


@given(st.lists(st.builds(Finding, origin=ORIGINS, message=st.sampled_from("xyz")), max_size=8))
def test_findings_sort_by_file_then_line_as_a_number(findings: list[Finding]) -> None:
    places = [(finding.origin.file, finding.origin.line) for finding in sorted(findings)]
    assert places == sorted(places)
