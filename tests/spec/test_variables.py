"""`${environment}` and its like: where they are replaced, where they are not, and what is said of the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.desired import Environment
from reconciler.model.digest import spec_digest
from reconciler.model.names import EnvironmentName, RoleName
from reconciler.spec.variables import NAMES, expand, holds_variables
from tests.spec.revision import PRODUCTION, USER_DATA_LIMIT_BYTES, read, told

WEB = RoleName("web")
CHECKOUT = EnvironmentName("checkout")


def checkout(lines: str = "", *, role: str = "", above: str = "") -> Environment:
    desired = read(files(lines, role=role, above=above))
    assert desired.findings == ()
    return desired.environments[CHECKOUT]


def said(lines: str = "", *, role: str = "", above: str = "") -> list[str]:
    desired = read(files(lines, role=role, above=above))
    assert CHECKOUT in desired.frozen
    return [line.removeprefix("environments.d/") for line in told(desired)]


def files(lines: str, *, role: str, above: str) -> dict[str, str | bytes]:
    """`role` stands in line 4 of checkout's file, `lines` from line 5 on, `above` in line 12 of its template."""
    branch = "" if "branch:" in lines else "branch: redesign\n"
    template = PRODUCTION.replace("owner: ops@example.com\n", "").replace("protected: true\n", "")
    return {
        "_base.yml": template.replace('    run_list: ["recipe[kickstarter::web]"]\n', f"    run_list: [base]\n{above}"),
        "checkout.yml": f"extends: _base\nowner: jessica@example.com\nroles:\n  web: {{{role}}}\n{lines}{branch}",
    }


def test_each_variable_has_its_value() -> None:
    web = checkout(
        "commit: 0123abc\n",
        role='attributes: {all: "${environment} ${branch} ${owner} ${project} ${commit}", n: ["x-${branch}", 1]}',
    ).roles[WEB]
    assert web.attributes["all"] == "checkout redesign jessica@example.com kickstarter 0123abc"
    assert web.attributes["n"] == ["x-redesign", 1]


def test_a_templates_text_speaks_of_who_extends_it() -> None:
    environment = checkout(above='    tags: {url: "https://${environment}.example.com/${branch}"}\n')
    assert environment.roles[WEB].tags == {"url": "https://checkout.example.com/redesign"}
    assert str(environment.roles[WEB].origin("tags.url")) == "environments.d/_base.yml:12"


def test_they_stand_in_any_value() -> None:
    web = checkout(
        role='run_list: ["role[${project}-web]"], instance_profile: "${project}-${environment}", image: "ssm:/${project}/${branch}"'
    ).roles[WEB]
    assert web.run_list == ("role[kickstarter-web]",)
    assert web.instance_profile == "kickstarter-checkout"
    assert str(web.image) == "ssm:/kickstarter/redesign"


def test_the_sources_of_variables_may_speak_of_the_environment() -> None:
    environment = checkout("branch: feature/${environment}\n", role='tags: {branch: "${branch}"}')
    assert environment.branch == "feature/checkout"
    assert environment.roles[WEB].tags == {"branch": "feature/checkout"}


def test_what_is_put_in_is_not_looked_at_again() -> None:
    text = PRODUCTION.replace("ops@example.com", "$${branch}") + '    tags: {owner: "${owner}"}\n'
    environment = read({"checkout.yml": text}).environments[CHECKOUT]
    assert environment.owner == "${branch}"
    assert environment.roles[RoleName("worker")].tags == {"owner": "${branch}"}


def test_two_dollars_mean_the_text_itself() -> None:
    web = checkout(
        role='attributes: {a: "$${branch}", b: "$${anything at all}", c: "$branch $$ $(x) {y} $ {z}"}'
    ).roles[WEB]
    assert web.attributes == {
        "a": "${branch}",
        "b": "${anything at all}",
        "c": "$branch $$ $(x) {y} $ {z}",
        "unicorn": {"workers": 8, "timeout": 30},
    }


def test_in_user_data_other_names_are_the_shells() -> None:
    script = "echo ${HOME} ${branch} $${branch} $${x} ${branch:-main} ${branch#x} $$ ${unknown}"
    web = checkout(role=f"user_data: '{script}'").roles[WEB]
    assert web.user_data == "echo ${HOME} redesign ${branch} $${x} ${branch:-main} ${branch#x} $$ ${unknown}"


def test_replaced_values_are_what_drift_is_told_by() -> None:
    written = checkout(role="user_data: 'git checkout ${branch}'").roles[WEB]
    plain = checkout(role="user_data: 'git checkout redesign'").roles[WEB]
    assert spec_digest(written) == spec_digest(plain)
    assert written == plain


@pytest.mark.parametrize(
    ("role", "line"),
    [
        (
            'tags: {x: "${brnch}"}',
            (
                "4: unknown variable ${brnch} in roles.web.tags.x "
                "(did you mean ${branch}?; for the text itself write $${brnch})"
            ),
        ),
        (
            'attributes: {arn: "${aws:username}"}',
            (
                "4: unknown variable ${aws:username} in roles.web.attributes.arn "
                "(known: environment, branch, owner, project, commit; for the text itself write $${aws:username})"
            ),
        ),
        (
            'tags: {x: "${commit}"}',
            (
                "4: checkout has no commit for ${commit} in roles.web.tags.x "
                "(add commit to environments.d/checkout.yml, or leave the variable out)"
            ),
        ),
        (
            'attributes: {"${branch}": 1}',
            '4: the key "${branch}" holds a variable (variables are replaced in values only)',
        ),
        (
            'instance_profile: "${owner}/x"',
            (
                "4: roles.web.instance_profile must be an instance profile's name, not its ARN, "
                'not "jessica@example.com/x"'
            ),
        ),
        (
            'run_list: ["recipe[${owner}]"]',
            (
                '4: "recipe[jessica@example.com]" is not a run-list item (write recipe[nginx], recipe[nginx::proxy], '
                "recipe[nginx@1.2.3], role[base], or a bare recipe name)"
            ),
        ),
        (
            'run_list: ["role[${environment}-web]"]',
            (
                "4: role[checkout-web] is the generated Chef role of roles.web and would hold itself "
                "(remove it from run_list)"
            ),
        ),
        (
            'attributes: {secret_token: "${owner}abcdefgh1234"}',
            (
                "4: roles.web.attributes.secret_token looks like a secret "
                "(take it out of git and replace it; nodes can fetch it from a vault)"
            ),
        ),
        (
            f"user_data: '${{owner}}{'x' * (USER_DATA_LIMIT_BYTES - 10)}'",
            (
                f"4: roles.web.user_data is {USER_DATA_LIMIT_BYTES + 9} bytes long, at most {USER_DATA_LIMIT_BYTES} fit "
                "beside the bootstrap (shorten it, or fetch the rest from the script)"
            ),
        ),
        ('count: "${branch}"', '4: roles.web.count must be a whole number, not the text "redesign"'),
    ],
)
def test_what_is_wrong_with_a_variable_or_with_what_it_gives(role: str, line: str) -> None:
    assert said(role=role) == [f"checkout.yml:{line}"]


@pytest.mark.parametrize("key", ["branch", "project", "commit"])
def test_a_source_cannot_hold_another_source(key: str) -> None:
    remedy = "only ${environment} is known there; write the value itself"
    assert said(f'{key}: "${{owner}}"\n') == [f"checkout.yml:5: {key} cannot hold ${{owner}} ({remedy})"]


def test_a_fault_of_inherited_text_is_told_where_the_text_stands_and_freezes_only_whom_it_concerns() -> None:
    texts = files("commit: 0123abc\n", role="", above='    tags: {commit: "${commit}"}\n')
    desired = read(texts | {"other.yml": "extends: _base\nowner: me\n"})
    assert told(desired) == [
        (
            "environments.d/_base.yml:12: other has no commit for ${commit} in roles.web.tags.commit "
            "(add commit to environments.d/other.yml, or leave the variable out)"
        )
    ]
    assert set(desired.environments) == {"checkout"}
    assert EnvironmentName("other") in desired.frozen


def test_variables_may_not_multiply_a_file_without_end() -> None:
    branch = "b" * 240
    text = " ".join(["${branch}"] * 900)
    lists = "\n".join(f"        - '{text}'" for _ in range(9))
    content = PRODUCTION.replace("main", branch).replace(
        "attributes: {unicorn: {workers: 8, timeout: 30}}", f"attributes:\n      x:\n{lists}"
    )
    desired = read({"checkout.yml": content})
    assert ["variables add" in line for line in told(desired)] == [True]


# --- laws -----------------------------------------------------------------------------------------------------------

VALUES = {"environment": "e", "branch": "${owner}", "owner": "$${project}", "project": "p", "commit": "c"}
PLAIN = [(text, text) for text in ("abc", "$", "$$", "{", "}", "$branch", "{branch}", "$(x)")]
GIVEN = [(f"${{{name}}}", value) for name, value in VALUES.items()] + [
    (f"$${{{name}}}", f"${{{name}}}") for name in NAMES
]
SHELL = [(text, text) for text in ("${HOME}", "$${HOME}", "${branch:-x}", "${#branch}")]


@given(st.lists(st.sampled_from(PLAIN + GIVEN + [("$${x y}", "${x y}")])))
def test_text_is_what_its_parts_mean(parts: list[tuple[str, str]]) -> None:
    written, meant = (" ".join(column) for column in ([part[0] for part in parts], [part[1] for part in parts]))
    assert expand(written, VALUES, is_shell=False) == meant
    assert holds_variables(written, is_shell=False) == (written != meant)


@given(st.lists(st.sampled_from(PLAIN + GIVEN + SHELL)))
def test_a_script_keeps_what_is_the_shells(parts: list[tuple[str, str]]) -> None:
    written, meant = (" ".join(column) for column in ([part[0] for part in parts], [part[1] for part in parts]))
    assert expand(written, VALUES, is_shell=True) == meant
    assert holds_variables(written, is_shell=True) == (written != meant)
