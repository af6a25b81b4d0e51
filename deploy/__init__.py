"""Setup of Bluetick's environment: topics, consumer groups, a local Kafka, a load balancer."""
