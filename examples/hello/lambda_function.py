import json


def lambda_handler(event, context):
    print("hello from", context.function_name, json.dumps(event))
    return {"statusCode": 200, "body": f"Hello, {event.get('name', 'world')}!"}
