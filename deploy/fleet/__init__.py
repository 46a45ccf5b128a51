"""What a host of a fleet is told: settings from its site file, queues.yaml and its secrets.

Ansible brings these three to a host and runs `airlane fleet render`; nothing that follows from them
is written a second time in a template.
"""
