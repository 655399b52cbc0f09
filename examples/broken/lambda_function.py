"""A handler that raises: its caller gets the error, its environment lives on."""


def lambda_handler(event, context):
    raise ValueError("there is no price for " + event.get("name", "nothing"))
