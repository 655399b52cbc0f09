"""What can be seen of lambdad from outside: logs, and later metrics and statistics."""
