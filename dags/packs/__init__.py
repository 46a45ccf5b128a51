"""What data scientists write: plain, typed, tested Python; no Airflow, nothing of the platform."""
