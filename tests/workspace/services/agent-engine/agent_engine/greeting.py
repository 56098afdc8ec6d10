"""Part of every answer of /info; the reload tests change it."""

GREETING = "hello"
