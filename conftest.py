"""Only wires: the plugin is loaded by pyproject.toml, and the suite's own tests use pytester."""

pytest_plugins = ["pytester"]
