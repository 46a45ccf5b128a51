"""The control plane: the queue model and all that is derived from it for Airflow."""
