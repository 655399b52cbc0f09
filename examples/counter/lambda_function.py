"""What a module holds outlives an invocation: a warm start finds it, a cold start does not."""

import os

count = 0


def lambda_handler(event, context):
    global count
    count += 1
    return {"count": count, "pid": os.getpid()}
