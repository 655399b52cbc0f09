"""The data plane: what runs where, when, and what became of it. Speaks no HTTP."""
