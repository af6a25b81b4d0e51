"""An invented processor, `count`, and the command line with it: one folder and one entry."""

from schemas.processor_list import Processor

COUNT = Processor(
    "count",
    "Count the records of statuses.",
    "tests.e2e.third_processor.counter:Counter",
    inputs=("statuses",),
    outputs=(),
    health_port=8087,
)
