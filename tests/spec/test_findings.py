"""What is wrong with an environment file, and exactly what is said about it."""

import pytest

from reconciler.model.names import EnvironmentName
from reconciler.spec import SpecReader
from tests.spec.revision import CHECKOUT, PRODUCTION, USER_DATA_LIMIT_BYTES, Revision, read, told

CHECKOUT_NAME = EnvironmentName("checkout")


def told_of(text: str | bytes) -> list[str]:
    """What is said of this file as `checkout.yml` beside a sound production."""
    desired = read({"production.yml": PRODUCTION, "checkout.yml": text})
    lines = told(desired)
    assert (CHECKOUT_NAME in desired.frozen) == bool(lines)
    if lines:
        assert [str(finding) for finding in desired.frozen[CHECKOUT_NAME].findings] == lines
    assert EnvironmentName("production") in desired.environments
    return [line.removeprefix("environments.d/checkout.yml:") for line in lines]


def with_web(line: str) -> str:
    return f"extends: production\nowner: me\nroles:\n  web:\n    {line}\n"


def test_sound_files_have_no_findings() -> None:
    assert told_of(CHECKOUT) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("extends: production\nowner: me\ndatabase: {}", "3: database is not supported yet (remove it)"),
        (with_web("policy: {}"), "5: roles.web.policy is not supported yet (remove it)"),
        ("extends: production\nowner: me\nimage: ami-1", '3: unknown key "image" (it belongs to a role, or defaults)'),
        (
            "extends: production\nowner: me\nbranch: -x",
            '3: branch must be the name of a git branch, not "-x"',
        ),
        (
            "extends: production\nowner: me\nbranch: 1.10",
            '3: branch must be the name of a git branch, not the number 1.10 (quote it: "1.10")',
        ),
        (
            "extends: production\nowner: me\ncommit: 1234567",
            (
                "3: commit must be a commit: 7 to 64 hexadecimal digits, lower-case, not the number 1234567 "
                '(quote it: "1234567")'
            ),
        ),
        (
            "extends: production\nowner: me\ncommit: 0123456",
            (
                "3: commit: 0123456 is a number to some YAML readers and text or another number to others "
                '(quote it to mean text: "0123456"; or write a plain decimal number)'
            ),
        ),
        (PRODUCTION.replace("owner:", "onwer:"), '2: unknown key "onwer" (did you mean "owner"?)'),
        (with_web('run_lsit: ["recipe[x]"]'), '5: unknown key "run_lsit" (did you mean "run_list"?)'),
        (with_web('count: "2"'), '5: roles.web.count must be a whole number, not the text "2" (remove the quotes: 2)'),
        (with_web("count: 501"), "5: roles.web.count must be at most 500, not 501"),
        (with_web("count: -1"), "5: roles.web.count must be at least 0, not -1"),
        (
            with_web("image: ami-xyz"),
            (
                "5: roles.web.image must be ami-… with 8 or 17 hexadecimal digits, ssm:/path/of/a/parameter, "
                'or {owner, name}, not "ami-xyz"'
            ),
        ),
        (
            with_web("image: {owner: self}"),
            "4: roles.web.image has no name (add it under roles.web or defaults, here or in production)",
        ),
        (
            with_web("root_volume: {type: gp3}"),
            "4: roles.web.root_volume has no size (add it under roles.web or defaults, here or in production)",
        ),
        (
            with_web("image: {owner: 123456789012, name: x}"),
            (
                "5: roles.web.image.owner must be an account id of 12 digits, self, amazon or aws-marketplace, "
                'not the number 123456789012 (quote it: "123456789012")'
            ),
        ),
        (
            with_web("instance_profile: arn:aws:iam::123456789012:instance-profile/web"),
            (
                "5: roles.web.instance_profile must be an instance profile's name, not its ARN, "
                'not "arn:aws:iam::123456789012:instance-profile/web"'
            ),
        ),
        (
            with_web("subnets: subnet-a"),
            '5: roles.web.subnets must be a list, not the text "subnet-a" (write it as a list: [subnet-a])',
        ),
        (with_web("subnets: []"), "5: roles.web.subnets is empty (give it a value, or remove it)"),
        (with_web("subnets: [subnet-a, subnet-a]"), '5: roles.web.subnets names "subnet-a" twice (keep one)'),
        (
            with_web("tags: {'hivequeen:fleet': other}"),
            (
                '5: the key "hivequeen:fleet" of roles.web.tags must be a tag of yours: Name and the prefixes hivequeen: '
                "and aws: are taken, and 128 characters are the limit"
            ),
        ),
        (
            with_web("tags: {'AWS:x': other}"),
            (
                '5: the key "AWS:x" of roles.web.tags must be a tag of yours: Name and the prefixes hivequeen: '
                "and aws: are taken, and 128 characters are the limit"
            ),
        ),
        (
            with_web("tags: {Name: other}"),
            (
                '5: the key "Name" of roles.web.tags must be a tag of yours: Name and the prefixes hivequeen: '
                "and aws: are taken, and 128 characters are the limit"
            ),
        ),
        (with_web("tags: {cost: 12}"), '5: roles.web.tags.cost must be text, not the number 12 (quote it: "12")'),
        (
            with_web("attributes: {hivequeen: {fleet: x}}"),
            "5: roles.web.attributes.hivequeen is reserved: the daemon marks there what it owns (remove it)",
        ),
        (
            with_web("run_list: ['recipe[a b]']"),
            (
                '5: "recipe[a b]" is not a run-list item (write recipe[nginx], recipe[nginx::proxy], '
                "recipe[nginx@1.2.3], role[base], or a bare recipe name)"
            ),
        ),
        (
            with_web("run_list: ['role[checkout-web]']"),
            (
                "4: role[checkout-web] is the generated Chef role of roles.web and would hold itself "
                "(remove it from run_list)"
            ),
        ),
        (
            with_web(f"user_data: {'x' * (USER_DATA_LIMIT_BYTES + 1)}"),
            (
                f"5: roles.web.user_data is {USER_DATA_LIMIT_BYTES + 1} bytes long, at most {USER_DATA_LIMIT_BYTES} fit "
                "beside the bootstrap (shorten it, or fetch the rest from the script)"
            ),
        ),
        (
            with_web(f"user_data: {'ü' * (USER_DATA_LIMIT_BYTES // 2 + 1)}"),
            (
                f"5: roles.web.user_data is {USER_DATA_LIMIT_BYTES + 2} bytes long, at most {USER_DATA_LIMIT_BYTES} fit "
                "beside the bootstrap (shorten it, or fetch the rest from the script)"
            ),
        ),
        (
            with_web("attributes: {aws: {id: AKIAIOSFODNN7EXAMPLE}}"),
            (
                "5: roles.web.attributes.aws.id looks like an AWS access key "
                "(take it out of git and replace it; nodes can fetch it from a vault)"
            ),
        ),
        (
            "extends: production\nowner: me\nroles:\n  WEB: {count: 1, run_list: []}",
            (
                '4: the key "WEB" of roles must be a role\'s name: a lower-case letter, then lower-case letters and '
                "digits, at most 16 in all"
            ),
        ),
        (
            "extends: production\nowner: me\nroles:\n  web:\n",
            "4: roles.web has no value (give it one; {} is an empty map, and null removes what is inherited)",
        ),
        ("extends: prodution\nowner: me", '1: extends "prodution", which does not exist (did you mean "production"?)'),
        (
            "extends: nothing\nowner: me",
            '1: extends "nothing", which does not exist (it must be a file in the same folder, named without its ending)',
        ),
        ("owner: me\nextends: checkout", "2: checkout extends itself (name another environment or template)"),
        (
            "extends: production\nbranch: x",
            "1: owner is missing (add it; it is not inherited from production)",
        ),
        (
            "extends: production\nowner: me\nroles: {web: null, worker: null}",
            "3: there is no role (declare at least one under roles, such as web)",
        ),
        (
            "extends: production\nowner: me\ndefaults: {image: null}\nroles:\n  web: {image: ami-01234567}\n  worker: {}",
            "3: roles.worker has no image (null removes defaults.image here; give it a value, or delete the null)",
        ),
        (
            "extends: production\nowner: me\nroles:\n  web:\n    tags: {a: b}\n    count: null",
            "6: roles.web has no count (null removes roles.web.count here; give it a value, or delete the null)",
        ),
        (
            "extends: production\nowner: me\nbranch: null",
            "3: branch is missing (null removes branch here; give it a value, or delete the null)",
        ),
        (
            "extends: [production]\nowner: me",
            (
                "1: extends must be the name of an environment or template without its ending, such as production or "
                "_base, not a list"
            ),
        ),
        (
            "extends: production\nowner: me\nchef_environment: production",
            (
                '3: chef_environment "production" is the Chef environment that is generated for production '
                "(name one that is nobody's here, or leave it out)"
            ),
        ),
        (
            "extends: production\nowner: me\nchef_environment: a b",
            '3: chef_environment must be the name of a Chef environment: letters, digits, hyphens and underscores, not "a b"',
        ),
    ],
)
def test_one_fault_is_one_line(text: str, expected: str) -> None:
    assert told_of(text) == [expected]


def test_a_parent_named_with_its_ending_is_told_what_to_write() -> None:
    assert told_of("extends: production.yml\nowner: me") == [
        '1: extends "production.yml", which does not exist (did you mean "production"?)',
        (
            "1: extends must be the name of an environment or template without its ending, such as production or "
            '_base, not "production.yml"'
        ),
    ]


def test_everything_that_is_missing_is_told_at_once() -> None:
    assert told_of("roles:\n  web: {count: 1}\n") == [
        "1: branch is missing (add it)",
        "1: owner is missing (add it)",
        "1: project is missing (add it)",
        "2: roles.web has no image (add it under roles.web or defaults)",
        "2: roles.web has no instance_type (add it under roles.web or defaults)",
        "2: roles.web has no run_list (add it under roles.web or defaults)",
        "2: roles.web has no security_groups (add it under roles.web or defaults)",
        "2: roles.web has no subnets (add it under roles.web or defaults)",
    ]


def test_all_findings_of_all_files_come_sorted_by_file_and_line() -> None:
    desired = read(
        {
            "b.yml": CHECKOUT + "revision: 1d\nexpires: x\n",
            "a.yml": CHECKOUT + "\n\nnotify: x\n",
            "_t.yml": "dns: x\n",
            "production.yml": PRODUCTION,
            "C.yml": CHECKOUT,
        }
    )
    places = [(finding.origin.file, finding.origin.line) for finding in desired.findings]
    assert places == sorted(places)
    assert places == [
        ("environments.d/C.yml", 1),
        ("environments.d/_t.yml", 1),
        ("environments.d/a.yml", 9),
        ("environments.d/b.yml", 7),
        ("environments.d/b.yml", 8),
    ]


def test_a_template_is_named_with_its_underscore() -> None:
    desired = read({"_base.yml": PRODUCTION, "x.yml": CHECKOUT.replace("production", "base")})
    assert told(desired) == ['environments.d/x.yml:1: extends "base", which does not exist (did you mean "_base"?)']


def test_a_fault_of_the_parent_is_told_once_and_freezes_its_children() -> None:
    desired = read(
        {"production.yml": PRODUCTION + "dns: 1d\n", "a.yml": CHECKOUT, "b.yml": CHECKOUT, "c.yml": PRODUCTION}
    )
    assert told(desired) == ["environments.d/production.yml:18: dns is not supported yet (remove it)"]
    assert set(desired.frozen) == {"production", "a", "b"}
    assert desired.frozen[EnvironmentName("a")].findings == desired.findings
    assert set(desired.environments) == {"c"}


def test_a_parent_that_is_only_incomplete_serves_its_children() -> None:
    desired = read({"production.yml": PRODUCTION.replace("owner: ops@example.com\n", ""), "a.yml": CHECKOUT})
    assert set(desired.frozen) == {"production"}
    assert set(desired.environments) == {"a"}


def test_own_name_as_existing_chef_environment_is_allowed() -> None:
    desired = read({"production.yml": PRODUCTION + "chef_environment: production\n"})
    assert desired.findings == ()
    assert desired.environments[EnvironmentName("production")].chef_environment == "production"


def test_limits_hold_for_what_is_merged() -> None:
    def many(prefix: str) -> str:
        return ", ".join(f"{prefix}{n}: x" for n in range(25))

    desired = read(
        {
            "production.yml": PRODUCTION.replace("defaults:", f"defaults:\n  tags: {{{many('a')}}}"),
            "checkout.yml": CHECKOUT.replace("web: {count: 1}", f"web: {{tags: {{{many('b')}}}}}"),
        }
    )
    assert told(desired) == [
        "environments.d/checkout.yml:5: roles.web has 50 tags, at most 40 are allowed (remove some)"
    ]
    roles = "".join(f"  r{n}: {{count: 0, run_list: []}}\n" for n in range(31))
    desired = read(
        {
            "production.yml": PRODUCTION + roles.replace("  r30: {count: 0, run_list: []}\n", ""),
            "checkout.yml": CHECKOUT + "  extra: {count: 0, run_list: []}\n",
        }
    )
    assert told(desired) == [
        "environments.d/checkout.yml:4: 33 roles are declared or inherited, at most 32 are allowed (remove some)"
    ]


def test_user_data_is_measured_against_what_the_bootstrap_leaves() -> None:
    files = {"production.yml": PRODUCTION + "    user_data: 'exit'\n"}
    assert Revision(files).read_with(SpecReader(user_data_limit_bytes=4)).findings == ()
    assert len(Revision(files).read_with(SpecReader(user_data_limit_bytes=3)).findings) == 1
