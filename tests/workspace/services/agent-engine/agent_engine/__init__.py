"""Agents that plan, call tools and remember."""

VERSION = "1.1.0"
