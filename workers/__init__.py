"""The data plane: what a Celery worker of a class runs with, and how it starts warm."""
