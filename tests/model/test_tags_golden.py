"""What live fleets carry. **Changing an expectation here breaks fleets that run**: nodes would be lost, replaced or
launched twice. A new field may be added where it says nothing about what exists already."""

from reconciler.model import tags
from reconciler.model.actions import EnsureChefEnvironment, EnsureChefRole, LaunchNodes
from reconciler.model.desired import Desired, Environment, ImageById, Role
from reconciler.model.findings import Origin
from reconciler.model.memory import Memory
from reconciler.model.names import (
    ENVIRONMENT_LENGTH_MAX,
    NODE_LENGTH_MAX,
    ROLE_LENGTH_MAX,
    EnvironmentName,
    FleetId,
    ImageId,
    InstallationId,
    InstanceId,
    RevisionId,
    RoleName,
    chef_role_name,
    node_name,
    node_run_list,
)
from reconciler.model.observed import Observed
from reconciler.model.rules import Rules
from reconciler.plan import Context, plan
from tests.fakes.clock import BEGAN

ROLE = Role(
    name=RoleName("web"),
    count=1,
    run_list=("recipe[kickstarter::web]",),
    attributes={"unicorn": {"workers": 8}},
    image=ImageById(image_id=ImageId("ami-0123456789abcdef0")),
    instance_types=("m7i.large",),
    subnets=("subnet-a",),
    security_groups=frozenset({"sg-app"}),
    key_name="ops",
    user_data="swapon /swap\n",
    tags={"team": "shop", "Name": "cannot be taken"},
)
CHECKOUT = Environment(
    name=EnvironmentName("checkout"),
    origin=Origin(file="environments.d/checkout.yml", line=1),
    project="kickstarter",
    owner="ops@example.com",
    branch="main",
    commit="a" * 40,
    protected=True,
    roles={ROLE.name: ROLE},
)


def planned() -> tuple[EnsureChefEnvironment, EnsureChefRole, LaunchNodes]:
    """A first commit, from declaration to actions."""
    revision = RevisionId("0123456789abcdef0123456789abcdef01234567")
    made = plan(
        Context(
            desired=Desired(revision=revision, environments={CHECKOUT.name: CHECKOUT}, frozen={}, findings=()),
            observed=Observed(at=BEGAN, is_full=True, environments={}),
            memory=Memory(installation=InstallationId("one")),
            rules=Rules(fleet=FleetId("demo")),
            now=BEGAN,
        )
    )
    environment, role, launch = made.environments[0].actions
    assert isinstance(environment, EnsureChefEnvironment)
    assert isinstance(role, EnsureChefRole)
    assert isinstance(launch, LaunchNodes)
    return environment, role, launch


def test_the_keys_of_our_tags() -> None:
    assert {name: getattr(tags, name) for name in dir(tags) if name.isupper()} == {
        "FLEET": "hivequeen:fleet",
        "ENVIRONMENT": "hivequeen:environment",
        "ROLE": "hivequeen:role",
        "INTENT": "hivequeen:intent",
        "SPEC": "hivequeen:spec",
        "REVISION": "hivequeen:revision",
        "READY": "hivequeen:ready",
        "PROTECTED": "hivequeen:protected",
        "NAME": "Name",
        "RESERVED_PREFIXES": ("hivequeen:", "aws:"),
    }


def test_the_tags_of_a_launch() -> None:
    """The intent's own tag comes with each call."""
    assert dict(planned()[2].tags) == {
        "Name": "checkout-web",
        "hivequeen:environment": "checkout",
        "hivequeen:fleet": "demo",
        "hivequeen:protected": "true",
        "hivequeen:revision": "0123456789abcdef0123456789abcdef01234567",
        "hivequeen:role": "web",
        "hivequeen:spec": "v1:dff002e3df942442",
        "team": "shop",
    }


def test_the_names_in_chef() -> None:
    environment, role, _ = planned()
    assert (environment.wanted.name, role.wanted.name) == ("checkout", "checkout-web")
    name, web = CHECKOUT.name, ROLE.name
    assert chef_role_name(name, web) == "checkout-web"
    assert node_name(name, web, InstanceId("i-0123456789abcdef0")) == "checkout-web-0123456789abcdef0"
    assert node_run_list(name, web) == ("role[checkout-web]",)


def test_the_longest_name_fits_a_host_name() -> None:
    longest = node_name(
        EnvironmentName("e" * ENVIRONMENT_LENGTH_MAX), RoleName("r" * ROLE_LENGTH_MAX), InstanceId("i-" + "0" * 17)
    )
    assert len(longest) == NODE_LENGTH_MAX == 62


def test_the_marks_of_ownership_in_chef() -> None:
    environment, role, _ = planned()
    assert environment.wanted.default_attributes == {
        "hivequeen": {"fleet": "demo", "environment": "checkout", "protected": True}
    }
    assert role.wanted.run_list == ("recipe[kickstarter::web]",)
    assert role.wanted.default_attributes == {
        "unicorn": {"workers": 8},
        "hivequeen": {
            "fleet": "demo",
            "environment": "checkout",
            "role": "web",
            "project": "kickstarter",
            "branch": "main",
            "commit": "a" * 40,
            "protected": True,
            "image": "ami-0123456789abcdef0",
            "image_source": "ami-0123456789abcdef0",
        },
    }
