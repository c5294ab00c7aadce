"""Stand-ins for services of others, which no deployment may really talk to: they record what comes, and can fail."""
