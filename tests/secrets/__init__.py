"""Nothing that is secret is told: a real server and client, and everything they write, searched."""
