"""Code of users and of other packages: entry points, names such as `module:attribute`, and its identity."""
