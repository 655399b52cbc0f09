"""The API as data: requests and answers of every operation, read off the service model."""
