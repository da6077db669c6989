"""`hivequeen.yml`, read once into one frozen object."""

from reconciler.settings.faults import is_remote_url
from reconciler.settings.file import control_of, load
from reconciler.settings.values import (
    DEFAULT_CONTROL,
    AwsSettings,
    BootstrapSettings,
    ChefSettings,
    Deadlines,
    Intervals,
    Lifetimes,
    Limits,
    ListenSettings,
    Mode,
    Package,
    Receiver,
    RepositorySettings,
    Settings,
    TeardownSettings,
    TlsSettings,
)

__all__ = [
    "DEFAULT_CONTROL",
    "AwsSettings",
    "BootstrapSettings",
    "ChefSettings",
    "Deadlines",
    "Intervals",
    "Lifetimes",
    "Limits",
    "ListenSettings",
    "Mode",
    "Package",
    "Receiver",
    "RepositorySettings",
    "Settings",
    "TeardownSettings",
    "TlsSettings",
    "control_of",
    "is_remote_url",
    "load",
]
