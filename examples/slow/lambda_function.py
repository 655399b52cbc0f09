"""A handler that takes longer than its function's Timeout."""

import time


def lambda_handler(event, context):
    print("this will take a minute")
    time.sleep(60)
