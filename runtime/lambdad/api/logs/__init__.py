"""CloudWatch Logs, as far as clients of Lambda use it, on the same endpoint."""
