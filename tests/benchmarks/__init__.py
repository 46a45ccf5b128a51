"""The benchmark: airlane and stock Airflow on one machine, in turn (docs/benchmarks.md)."""
