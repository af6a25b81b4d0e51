"""The fault suite: services on a real Kafka, with faults of processes, disks, clocks, networks."""
