"""The whole stack on one machine: real PostgreSQL and Redis-compatible servers from wheels."""
