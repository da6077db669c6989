"""The long-running side: what wakes a pass, the loop that makes it, the control socket, signals and systemd."""
