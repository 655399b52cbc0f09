"""What each operation of the API does: one module per noun, methods named as in the model.

Operations take and return plain dicts of the model; they never see a request or a response.
"""
