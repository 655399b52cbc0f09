"""The Lambda API: one server, one wire for all operations, one class per noun."""
