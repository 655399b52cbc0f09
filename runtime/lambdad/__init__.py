"""lambdad: AWS Lambda's execution environment as a Unix daemon."""

__version__ = "0.1.0"
