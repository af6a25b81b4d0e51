"""`bluetick quality`: the figures of delivery quality, side by side."""
