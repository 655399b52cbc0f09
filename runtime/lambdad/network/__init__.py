"""What environments reach: their network namespaces, and the way out of them."""
