"""Policies of others: users' functions and classes, policies of other libraries, and policies behind servers."""
