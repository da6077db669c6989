"""How a booted machine becomes a Chef client: attested registration, the first-boot script, and the first run's report."""
