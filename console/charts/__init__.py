"""Charts as SVG text: values in, markup out. Each is a pure function."""
