"""The HTTP endpoint: an ASGI app over a gateway, and the program that serves it."""
