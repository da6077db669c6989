"""Report: what a pass comes to, as conditions, events, metrics, log lines and documents."""
