"""The guide's services: use cases over the domain, given stores and clients as arguments."""
