"""Policies of others: functions and classes of users that import nothing of this project."""
