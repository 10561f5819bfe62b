"""The package that every function shares: settings, errors, domain, store, clients, services."""
