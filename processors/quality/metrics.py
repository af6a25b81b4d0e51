"""The metrics of measure."""

from service.metrics.registry import counter

changes = counter("bluetick_quality_changes_total")
cells = counter("bluetick_quality_cells_total")
past = counter("bluetick_quality_past_changes_total")
unreadable = counter("bluetick_quality_unreadable_states_total")
